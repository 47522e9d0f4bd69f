"""What an experiment says, as plain data: for tables, for `pipeline.json`, for comparing two versions of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from .builder import Builder
from .experiment import Experiment
from .pipeline import OffPolicyPipelineComponent, PipelineStage, TrainingPipeline
from .settings import own_settings


def describe(experiment: Experiment) -> dict[str, Any]:
    """The experiment as JSON can hold it: environment, model, optimizer, losses, and every stage with its settings."""
    pipeline = experiment.pipeline
    return {
        "environment": plain(experiment.environment),
        "num_envs": experiment.num_envs,
        # None for one: checkpoints from before there were groups say nothing
        "environment_groups": experiment.environment_groups if experiment.environment_groups > 1 else None,
        "normalize_rewards": experiment.normalize_rewards,
        "validation": plain(experiment.validation),
        "model": plain(experiment.model),
        "optimizer": plain(pipeline.optimizer_builder),
        "lr_scheduler": plain(pipeline.lr_scheduler_builder),
        "should_log": pipeline.should_log,
        "losses": {name: plain(loss) for name, loss in pipeline.named_losses.items()},
        "stages": [
            _describe_stage(pipeline, stage, name) for stage, name in zip(pipeline, pipeline.stage_names(), strict=True)
        ],
    }


def _describe_stage(pipeline: TrainingPipeline, stage: PipelineStage, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "max_stage_steps": plain(stage.max_stage_steps),
        "loss_names": list(stage.loss_names),
        "loss_weights": list(stage.loss_weights or [1.0] * len(stage.loss_names)),
        "teacher_forcing": plain(stage.teacher_forcing),
        "early_stopping_criterion": plain(stage.early_stopping_criterion),
        "offpolicy_component": plain(stage.offpolicy_component),
        "environment": plain(stage.environment),
        "restart_optimizer": stage.restart_optimizer,
        "restart_lr_scheduler": stage.restart_lr_scheduler,
        "settings": {name: plain(value) for name, value in asdict(pipeline.settings_of(stage)).items()},
        "own_settings": list(own_settings(stage)),
    }


def plain(value: Any) -> Any:
    """A value as JSON can hold it. Objects become their class and what they were made of; functions their names."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Builder):
        return {"build": _name(value.class_type), **_arguments({**value.default, **value.kwargs})}
    if isinstance(value, OffPolicyPipelineComponent):
        return {name: plain(part) for name, part in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(part) for part in value]
    if is_dataclass(value) and not isinstance(value, type):
        own = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
        return {"object": _name(type(value)), **_arguments(own)}
    if callable(value) and hasattr(value, "__qualname__"):
        return {"function": _name(value)}
    attributes = {name: part for name, part in getattr(value, "__dict__", {}).items() if not name.startswith("_")}
    return {"object": _name(type(value)), **_arguments(attributes)}


def _arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"arguments": {name: plain(value) for name, value in arguments.items()}} if arguments else {}


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}" if hasattr(thing, "__qualname__") else type(thing).__qualname__
