from pieces import MODEL, SETTINGS

from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import PPO


def experiment() -> Experiment:
    return Experiment(
        environment="CartPol-v1",
        num_envs=-4,
        model=MODEL.class_type,
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO)},
            pipeline_stages=[
                PipelineStage(loss_names=["imitatoin"], max_stage_steps=0),
                PipelineStage(loss_names=["ppo"], max_stage_steps=1_000, loss_weights=[1, 2], gamma=2),
            ],
            **SETTINGS | {"use_gae": 1},
        ),
    )
