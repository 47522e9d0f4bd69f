"""From an experiment to its model and its environments."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from ..errors import CheckpointError, ExperimentError, TrainctlError
from ..experiment import EnvironmentSource, Experiment
from .device import learning_threads
from .first_forward import look_at_model
from .saving.checkpoint import Checkpoint
from .seeding import derived_seed, set_seed

MOST_SHOWN = 4
"""Of the parameters that do not fit, in a message."""


class StageEnvironment(NamedTuple):
    """What a stage trains in, and the purpose from which its environments' seeds come."""

    source: EnvironmentSource
    purpose: str


def environment_of_stage(experiment: Experiment, stage_index: int) -> StageEnvironment:
    """The environment of the nearest stage up to this one that has its own; else the experiment's."""
    stages = experiment.pipeline.pipeline_stages[: stage_index + 1]
    own = [(index, stage.environment) for index, stage in enumerate(stages) if stage.environment is not None]
    if not own:
        return StageEnvironment(experiment.environment, "environment")
    index, source = own[-1]
    return StageEnvironment(source, f"environment of stage {index}")


def build_model(experiment: Experiment, observation_space: Any, action_space: Any, seed: int) -> nn.Module:
    """The experiment's model for these spaces, with parameters that follow from the seed alone."""
    set_seed(derived_seed(seed, "model"))
    try:
        model = experiment.model(observation_space=observation_space, action_space=action_space)
    except TrainctlError:
        raise
    except Exception as error:
        raise ExperimentError(
            f"the model cannot be built for observations {observation_space} and actions {action_space}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, nn.Module):
        raise ExperimentError(f"the model builder gave {model!r}, not a torch.nn.Module")
    look_at_model(model, observation_space, action_space)
    return model


def threads_for(experiment: Experiment, model: nn.Module, observation_bytes: int) -> int:
    """How many threads to learn with from the first stage on, see `learning_threads`."""
    settings = experiment.pipeline.settings_of(experiment.pipeline.pipeline_stages[0])
    minibatch = settings.num_steps * experiment.num_envs // settings.num_mini_batch
    return learning_threads(model, observation_bytes, minibatch)


def load_model(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Give the model the checkpoint's parameters. Raises CheckpointError if they do not fit."""
    saved = checkpoint.model()
    there = {name: tuple(tensor.shape) for name, tensor in saved.items()}
    here = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    different = [name for name in {**here, **there} if here.get(name) != there.get(name)]
    if different:
        lines = [f"  {name}: {there.get(name, 'none')} there, {here.get(name, 'none')} here" for name in different]
        more = [f"  and {len(lines) - MOST_SHOWN} more"] if len(lines) > MOST_SHOWN else []
        text = "\n".join([f"{checkpoint.path} does not fit the experiment's model", *lines[:MOST_SHOWN], *more])
        hint = "is it a checkpoint of another experiment? The parameters must have the same names and shapes"
        raise CheckpointError(text, hint)
    model.load_state_dict(saved)
