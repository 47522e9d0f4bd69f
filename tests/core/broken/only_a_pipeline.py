from pieces import SETTINGS

from trainctl import Builder, PipelineStage, TrainingPipeline
from trainctl.losses import PPO

pipeline = TrainingPipeline(
    named_losses={"ppo": Builder(PPO)},
    pipeline_stages=[PipelineStage(["ppo"], max_stage_steps=1_000)],
    **SETTINGS,
)
