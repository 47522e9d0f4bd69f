"""Staged training of reinforcement-learning agents: the words that an experiment is written in.

Losses are in `trainctl.losses`, models in `trainctl.models`. Importing this imports no torch.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .core.builder import Builder, recursive_update
from .core.early_stopping import EarlyStoppingCriterion, NeverEarlyStoppingCriterion, StopWhenMetricReaches
from .core.engine.seeding import set_deterministic_cudnn, set_seed
from .core.errors import ExperimentError, TrainctlError
from .core.experiment import Experiment
from .core.metrics import LoggingPackage, ScalarMeanTracker
from .core.pipeline import OffPolicyPipelineComponent, PipelineStage, TrainingPipeline
from .core.schedules import LinearDecay, MultiLinearDecay
from .core.settings import TrainingSettings
from .core.shares import evenly_distribute_count_into_bins
from .core.validation import Validation

if TYPE_CHECKING:
    from .core.engine.playing.policy import load_policy

__version__ = version("trainctl")

__all__ = [
    "Builder",
    "EarlyStoppingCriterion",
    "Experiment",
    "ExperimentError",
    "LinearDecay",
    "LoggingPackage",
    "MultiLinearDecay",
    "NeverEarlyStoppingCriterion",
    "OffPolicyPipelineComponent",
    "PipelineStage",
    "ScalarMeanTracker",
    "StopWhenMetricReaches",
    "TrainctlError",
    "TrainingPipeline",
    "TrainingSettings",
    "Validation",
    "__version__",
    "evenly_distribute_count_into_bins",
    "load_policy",
    "recursive_update",
    "set_deterministic_cudnn",
    "set_seed",
]


def __getattr__(name: str) -> Any:
    """`load_policy` is imported when it is asked for: it needs torch."""
    if name == "load_policy":
        from .core.engine.playing.policy import load_policy

        return load_policy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
