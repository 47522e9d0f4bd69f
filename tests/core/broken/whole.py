from pathlib import Path

from pieces import MODEL, SETTINGS

from trainctl import Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import PPO


def experiment(
    num_envs: int = 4,
    steps: int = 1_000,
    clip_range: float = 0.2,
    hidden_sizes: tuple[int, ...] = (64, 64),
    map_file: Path | None = None,
    environment="CartPole-v1",
) -> Experiment:
    """Nothing is wrong with this one but what `--set` says."""
    stage = PipelineStage(["ppo"], max_stage_steps=steps)
    losses = {"ppo": PPO(clip_range=clip_range)}
    return Experiment(environment, num_envs, MODEL, TrainingPipeline(losses, [stage], **SETTINGS))
