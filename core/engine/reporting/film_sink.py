"""Episodes as animated images on TensorBoard, while it trains."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing

import torch
from torch import nn

from ...errors import TrainctlError
from ...experiment import Experiment
from ...metrics import LoggingPackage
from ..environments import build_environments
from ..environments.serial import SerialEnvironments
from ..playing.beside import Beside
from ..playing.filming import frames_of, speed_of
from ..playing.policy import Policy
from ..playing.validation import validation_environment
from ..progress import Progress
from ..seeding import set_seed, untouched_global_random_state
from .film import gif
from .reporting import NoSink
from .tensorboard_sink import TensorBoardSink

SHARE = 0.01
MOST_STEPS, EVERY = 150, 3
TAG = "episode/film"


class FilmSink(NoSink):
    """After a validation (without any: after an interval) films the beginning of an episode: always the same seed, most
    probable actions, the model as it is then.

    It films beside the training, one film at a time; what is finished is handed over with the next interval, or at the
    end. Films take about one percent of the time: when they have taken more, there is none until the training has
    caught up. It moves no bit of the training.

    * progress: where the training is. model: gives the model, which may not be built yet.
    * warn: told why there are no films, where the environment cannot be drawn.
    * stop_requested: whether nothing should be waited for at the end.
    """

    def __init__(
        self,
        experiment: Experiment,
        progress: Progress,
        model: Callable[[], nn.Module],
        tensorboard: TensorBoardSink,
        warn: Callable[[str], None],
        stop_requested: Callable[[], bool],
    ) -> None:
        self.experiment, self.progress, self.model = experiment, progress, model
        self.tensorboard, self.warn, self.stop_requested = tensorboard, warn, stop_requested
        self.kind = "train" if experiment.validation is None else "valid"
        self.trained_seconds, self.filmed_seconds = 0.0, 0.0
        self._beside: Beside | None = None
        self._steps = 0  # of the model that is being filmed

    def write(self, package: LoggingPackage) -> None:
        """An interval was closed, or a validation played."""
        if package.kind == "train":
            self.trained_seconds += package.wall_seconds
        if self._beside is not None and self._beside.is_done:
            self._hand_over(self._beside)
        is_wanted = package.kind == self.kind and package.should_log and self._beside is None
        if is_wanted and self.filmed_seconds <= SHARE * self.trained_seconds:
            self._steps = self.progress.total_steps
            self._beside = Beside(self._film, self.experiment.environment_timeout)

    def close(self) -> None:
        """The last film is handed over, unless somebody asked to stop."""
        if self._beside is not None:
            self._hand_over(self._beside)

    def _hand_over(self, beside: Beside) -> None:
        data, self._beside = beside.result(self.stop_requested), None
        if data is None and not self.stop_requested():
            data = self._film_here()
        if data is not None:
            about, film = data.split(b"\n", 1)
            seconds, size = json.loads(about)
            self.filmed_seconds += seconds
            self.tensorboard.image(TAG, film, size, self._steps)

    def _film_here(self) -> bytes | None:
        """Where no other process could: by now the model is another, but an error, if that was why, is known."""
        self._steps = self.progress.total_steps
        try:
            return self._film(self.stop_requested)
        except TrainctlError as error:
            self.warn(f"no films: {error}")
            self.kind = "none"
            return None

    def _film(self, stop_requested: Callable[[], bool]) -> bytes:
        """A line of JSON, [seconds that it took, [width, height]], and then the GIF."""
        began = time.perf_counter()
        validation, model = self.experiment.validation, self.model()
        seed = 0 if validation is None else validation.seed
        source = validation_environment(self.experiment, self.progress.stage_index)
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
                    frames, _ = frames_of(environment, policy, MOST_STEPS, EVERY, True, stop_requested)
                finally:
                    model.train(was_training)
        data = gif(frames, speed_of(environment) / EVERY)
        return json.dumps([time.perf_counter() - began, frames[0].size]).encode() + b"\n" + data
