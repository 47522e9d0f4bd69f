from pieces import MODEL, SETTINGS

from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import PPO

LOSSES = {"ppo": Builder(PPO)}


def experiment() -> Experiment:
    stage = PipelineStage(["ppo"], max_stage_steps=1_000)
    warm_up = TrainingPipeline(LOSSES, [stage], **SETTINGS)
    pipeline = TrainingPipeline(LOSSES, [*warm_up], **SETTINGS)
    return Experiment("CartPole-v1", 4, MODEL, pipeline)
