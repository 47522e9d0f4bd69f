"""Small sound declarations, for tests to change one thing in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trainctl import Builder, ExperimentError, OffPolicyPipelineComponent, PipelineStage, TrainingPipeline
from trainctl.core.errors import Fault


def ppo(batch: Any, output: Any) -> None:
    """Stands for a loss; none is called here."""


def stage(*names: str, **changes: Any) -> PipelineStage:
    arguments: dict[str, Any] = {"loss_names": list(names) or ["ppo"], "max_stage_steps": 1000}
    return PipelineStage(**(arguments | changes))


def pipeline(*stages: PipelineStage, **changes: Any) -> TrainingPipeline:
    arguments: dict[str, Any] = {
        "named_losses": {"ppo": ppo, "imitation": ppo, "clone": ppo},
        "pipeline_stages": list(stages) or [stage()],
        "optimizer_builder": Builder(dict),
        "num_mini_batch": 4,
        "update_repeats": 3,
        "max_grad_norm": 0.5,
        "num_steps": 128,
        "gamma": 0.99,
        "use_gae": True,
        "gae_lambda": 0.95,
        "advance_scene_rollout_period": None,
        "save_interval": None,
        "metric_accumulate_interval": 1000,
    }
    return TrainingPipeline(**(arguments | changes))


def component(**changes: Any) -> OffPolicyPipelineComponent:
    arguments: dict[str, Any] = {"data_iterator_builder": iter, "loss_names": ["clone"], "updates": 2}
    return OffPolicyPipelineComponent(**(arguments | changes))


def only_fault_of(make: Callable[[], object]) -> Fault:
    with pytest.raises(ExperimentError) as caught:
        make()
    (fault,) = caught.value.faults
    return fault
