"""A kill inside any kind of stage changes no bit: experts, teachers, data, memories, criteria."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.demonstrations import datasets
from tests.end_to_end.runs import checkpoint_steps, go_on, metrics, run, weights
from tests.end_to_end.test_resume import killed_after
from trainctl.core.engine.playing.demonstration_recorder import ExpertPlayer, record_demonstrations
from trainctl.core.experiment_file import load_experiment

pytest.importorskip("minari")
__all__ = ["datasets"]  # a fixture

EXPERIMENT = '''
import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from trainctl import (
    Builder, Experiment, LinearDecay, OffPolicyPipelineComponent, PipelineStage, StopWhenMetricReaches, TrainingPipeline
)
from trainctl.demonstrations import MinariSequences, share_of_worker
from trainctl.losses import PPO, BehaviorCloning, Imitation
from trainctl.models import MLPActorCritic


class Cue(gymnasium.Env):
    """Shows a number once, which is the right action five to nine steps later. The expert counts its calls."""

    observation_space = spaces.Discrete(4)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cue, self.left, self.asked = int(self.np_random.integers(3)), int(self.np_random.integers(5, 10)), 0
        return self.cue, {}

    def step(self, action):
        self.left -= 1
        over = self.left == 0
        success = float(over and action == self.cue)
        return 3, success, over, False, {"success": success} if over else {}

    def expert_action(self):
        self.asked += 1
        return None if self.asked % 4 == 0 else (self.cue + self.asked // 4) % 3


def experiment(memory: str | None = "gru", save: int = 1) -> Experiment:
    data = {"dataset": "cue/expert-v0", "num_steps": 3, "num_sequences": 4}
    demonstrations = OffPolicyPipelineComponent(
        data_iterator_builder=Builder(MinariSequences, data),
        data_iterator_kwargs_generator=share_of_worker,
        loss_names=["cloning"],
        updates=3,
    )
    criterion = StopWhenMetricReaches("success", 0.0, consecutive_intervals=3)
    return Experiment(
        environment=Cue,
        num_envs=4,
        model=Builder(MLPActorCritic, {"hidden_sizes": (16,), "memory": memory, "memory_size": 8}),
        pipeline=TrainingPipeline(
            named_losses={
                "imitation": Builder(Imitation), "ppo": Builder(PPO), "cloning": Builder(BehaviorCloning),
            },
            pipeline_stages=[
                PipelineStage(["imitation"], 84, teacher_forcing=LinearDecay(84), name="teacher"),
                PipelineStage(["ppo"], 84, offpolicy_component=demonstrations, name="demonstrations"),
                PipelineStage([], 56, offpolicy_component=demonstrations, name="offline", restart_optimizer=True),
                PipelineStage(["ppo", "imitation"], 280, early_stopping_criterion=criterion, name="stopped early"),
            ],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 1e-2}),
            num_mini_batch=2, update_repeats=2, max_grad_norm=0.5, num_steps=7, gamma=0.9, use_gae=True,
            gae_lambda=0.95, advance_scene_rollout_period=None, save_interval=save, metric_accumulate_interval=40,
        ),
    )
'''


@pytest.mark.parametrize("memory", ["gru", "none"])
def test_a_kill_inside_any_kind_of_stage_changes_nothing(memory: str, tmp_path: Path, datasets: Path) -> None:
    (tmp_path / "small.py").write_text(EXPERIMENT)
    environment = load_experiment(tmp_path / "small.py", {}).experiment.environment
    record_demonstrations(_patient(environment), ExpertPlayer(), 9, "cue/expert-v0", seed=0, description="")

    whole = run(tmp_path, "whole", memory=memory)
    lines = metrics(whole)
    assert {line["stage"] for line in lines} == {"teacher", "demonstrations", "offline", "stopped early"}
    assert max(line["means"].get("off_policy/epoch", 0) for line in lines) >= 1
    steps = checkpoint_steps(whole)
    assert steps[-1] < 84 + 84 + 56 + 280  # it was stopped early
    for step in steps[:-1]:
        resumed = go_on(killed_after(whole.run, tmp_path, step))
        assert weights(resumed) == weights(whole), step
        assert metrics(resumed) == lines, step


def _patient(environment):  # type: ignore[no-untyped-def]
    """The environment with an expert that always has an action, to record."""

    class Patient(environment):  # type: ignore[misc, valid-type]
        def expert_action(self) -> int:
            return int(self.cue)

    return Patient
