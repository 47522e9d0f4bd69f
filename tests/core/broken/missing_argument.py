from trainctl import Builder, PipelineStage, TrainingPipeline
from trainctl.losses import PPO


def experiment():
    return TrainingPipeline({"ppo": Builder(PPO)}, [PipelineStage(["ppo"], 1_000)])
