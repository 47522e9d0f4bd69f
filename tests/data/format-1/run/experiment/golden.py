"""Something of each kind of state: memory, normalisers, off-policy data, a criterion, a schedule."""

import torch

from trainctl import (
    Builder,
    Experiment,
    LinearDecay,
    OffPolicyPipelineComponent,
    PipelineStage,
    StopWhenMetricReaches,
    TrainingPipeline,
)
from trainctl.losses import PPO, BehaviorCloning
from trainctl.models import MLPActorCritic


def batches():
    for number in range(3):
        observations = torch.full((2, 2, 4), float(number))
        ones = torch.ones(2, 2)
        yield {"observations": observations, "actions": ones.long(), "masks": ones, "valid": ones.bool()}


def experiment() -> Experiment:
    return Experiment(
        environment="CartPole-v1",
        num_envs=2,
        model=Builder(MLPActorCritic, {"hidden_sizes": (4,), "memory": "gru", "memory_size": 4,
                                       "normalize_observations": True}),
        normalize_rewards=True,
        environment_processes=0,
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO), "cloning": Builder(BehaviorCloning)},
            pipeline_stages=[
                PipelineStage(loss_names=["ppo"], max_stage_steps=32, name="first"),
                PipelineStage(
                    loss_names=["ppo"], max_stage_steps=96, name="second",
                    offpolicy_component=OffPolicyPipelineComponent(batches, ["cloning"], 1),
                    early_stopping_criterion=StopWhenMetricReaches("return", 1000),
                ),
            ],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 1e-3}),
            lr_scheduler_builder=Builder(torch.optim.lr_scheduler.LambdaLR, {"lr_lambda": LinearDecay(128)}),
            num_steps=16, num_mini_batch=1, update_repeats=1, max_grad_norm=0.5, gamma=0.99, use_gae=True,
            gae_lambda=0.95, advance_scene_rollout_period=None, save_interval=32, metric_accumulate_interval=32,
        ),
    )
