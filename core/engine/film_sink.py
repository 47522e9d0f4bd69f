"""Episodes as animated images on TensorBoard, while it trains."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import torch
from torch import nn

from ..errors import TrainctlError
from ..experiment import Experiment
from ..metrics import LoggingPackage
from .environments import build_environments
from .environments.serial import SerialEnvironments
from .film import gif
from .filming import frames_of, speed_of
from .policy import Policy
from .reporting import NoSink
from .seeding import set_seed, untouched_global_random_state
from .tensorboard_sink import TensorBoardSink
from .validation import validation_environment

SHARE = 0.01
MOST_STEPS, EVERY = 150, 3
TAG = "episode/film"


class FilmSink(NoSink):
    """After a validation (without any: after an interval) films the beginning of an episode: always the same seed, most
    probable actions.

    It takes about one percent of the time: when films have taken more, there is none until the training has caught up.
    It moves no bit of the training.

    * model: gives the model, which may not be built yet.
    * warn: told why there are no films, where the environment cannot be drawn.
    """

    def __init__(
        self,
        experiment: Experiment,
        model: Callable[[], nn.Module],
        tensorboard: TensorBoardSink,
        warn: Callable[[str], None],
    ) -> None:
        self.experiment, self.model, self.tensorboard, self.warn = experiment, model, tensorboard, warn
        self.kind = "train" if experiment.validation is None else "valid"
        self.trained_seconds, self.filmed_seconds = 0.0, 0.0

    def write(self, package: LoggingPackage) -> None:
        """An interval was closed, or a validation played."""
        if package.kind == "train":
            self.trained_seconds += package.wall_seconds
        if package.kind == self.kind and package.should_log and self.filmed_seconds <= SHARE * self.trained_seconds:
            began = time.perf_counter()
            try:
                self._film(package)
            except TrainctlError as error:
                self.warn(f"no films: {error}")
                self.kind = "none"
            self.filmed_seconds += time.perf_counter() - began

    def _film(self, package: LoggingPackage) -> None:
        validation, model = self.experiment.validation, self.model()
        seed = 0 if validation is None else validation.seed
        source = validation_environment(self.experiment, package.stage_index)
        was_training, device = model.training, next(model.parameters(), torch.zeros(())).device
        with untouched_global_random_state():
            set_seed(seed)
            environments = build_environments(source, range(1), seed, "evaluation", 0)
            with closing(environments):
                if not isinstance(environments, SerialEnvironments):
                    raise TrainctlError("a vector environment cannot be filmed")
                (environment,) = environments.environments
                policy = Policy(model, environments.observation_space, environments.action_space, device)
                try:
                    frames, _ = frames_of(environment, policy, MOST_STEPS, EVERY, small=True)
                finally:
                    model.train(was_training)
                data = gif(frames, speed_of(environment) / EVERY)
        self.tensorboard.image(TAG, data, frames[0].size, package.total_steps)
