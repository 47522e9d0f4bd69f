from pieces import SETTINGS

from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import PPO


def experiment() -> Experiment:
    return Experiment(
        environment="CartPole-v1",
        num_envs=4,
        model=Builder(dict, {"sizes": (size for size in [64, 64])}),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO)},
            pipeline_stages=[PipelineStage(["ppo"], max_stage_steps=1_000)],
            **SETTINGS,
        ),
    )
