from pieces import MODEL, SETTINGS

from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import PPO


def experiment() -> Experiment:
    return Experiment(
        environment="CartPole-v1",
        num_envs=4,
        model=MODEL,
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO)},
            pipeline_stages=[PipelineStage(["ppo"], max_stage_steps=1_000)],
            **SETTINGS | {"gamma": float("nan")},
        ),
    )
