"""An episode of a training, seen again: the training goes on in memory from the checkpoint before it, with the same
bits, until the episode has ended; then its actions are played once more, and drawn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import CheckpointError, ExperimentError, TrainctlError, UsageError
from ..attempt import compute_as
from ..building import environment_of_stage
from ..device import prepare
from ..environments import Environments, Episode, Failure, build_environments
from ..environments.serial import SerialEnvironments
from ..environments.tracked import TrackedEnvironment
from ..playing.filming import drawn, short, speed_of
from ..reporting.film import framed, make_folder, need, write_film
from ..saving.checkpoint import Checkpoint, list_checkpoints
from ..saving.checkpoint_manifest import examine
from ..saving.from_checkpoint import load_run
from ..saving.run_directory import RunDirectory
from ..seeding import derived_seed
from ..trainer import Trainer
from ..workers.workers import worker_group


@dataclass(frozen=True)
class TrainingEpisode:
    """An episode as it went: global index of its environment, its number, its seed, the stage in which it ended.

    * actions: as the environment got them; asked: the steps at which the expert was asked; scenes: new ones before it.
    * total_steps: of the run, at the beginning of the rollout in which it ended. record: what is known of it.
    """

    environment: int
    number: int
    purpose: str
    seed: int
    stage_index: int
    total_steps: int
    actions: list[Any]
    asked: set[int]
    scenes: int
    record: Episode


class _Found(Exception):  # noqa: N818 nothing went wrong
    """The episode that was looked for has ended."""

    def __init__(self, environment: TrackedEnvironment, record: Episode) -> None:
        self.actions, self.asked = list(environment.actions), set(environment.asked)
        self.scenes, self.record = environment.scenes, record


class _Watched(TrackedEnvironment):
    """Raises `_Found` at the end of one of its episodes."""

    wanted: int

    def record(self, info: dict[str, Any]) -> Episode:
        """Called when an episode has ended."""
        record = super().record(info)
        if self.episode == self.wanted:
            raise _Found(self, record)
        return record

    def failure(self, what: str) -> Failure:
        """Called when the environment has failed."""
        if self.episode == self.wanted:
            raise TrainctlError(f"the environment failed in this episode: {what}", "see it with --failure")
        return super().failure(what)


class _TrainerInMemory(Trainer):
    """Writes nothing, and watches for an episode."""

    watched: tuple[int, int, str]

    def _build_environments(self, stage_index: int) -> Environments:
        source, purpose = environment_of_stage(self.experiment, stage_index)
        built = build_environments(source, self.indices, self.seed, purpose, 0)
        index, number, wanted = self.watched
        if purpose != wanted:
            return built
        if not isinstance(built, SerialEnvironments):
            raise UsageError("episodes of vector environments are not recorded", "give the experiment a gymnasium.Env")
        place = list(self.indices).index(index)
        usual = built.environments[place]
        usual.close()
        watched = built.environments[place] = _Watched(usual.make, *usual.key)
        watched.wanted = number
        return built

    def save(self) -> None:
        """Nothing is written."""


def find_episode(
    run: Path, environment: int, number: int, stage: str | None, say: Callable[[str], None]
) -> TrainingEpisode:
    """Train in memory until this episode of this environment ends; both count from 0.

    stage: where stages have environments of their own, whose episodes count anew, the one that is meant. say: told from
    where it begins, and what may make it another episode than the one that was.
    Raises `UsageError` for an environment or a stage that there is not, and where the run ended before the episode did.
    """
    directory = RunDirectory.of_checkpoint(run)
    record, loaded = directory.read_run(), load_run(directory)
    experiment = loaded.experiment
    if not 0 <= environment < experiment.num_envs:
        raise UsageError(f"there is no environment {environment}", f"they are 0 to {experiment.num_envs - 1}")
    names = experiment.pipeline.stage_names()
    if stage is not None and stage not in names:
        raise UsageError(f"there is no stage {stage!r}", f"the stages are {', '.join(names)}")
    first = names.index(stage) if stage is not None else 0
    purpose = environment_of_stage(experiment, first).purpose
    device = prepare(record["device"], record["deterministic"])
    with worker_group(device) as workers:
        trainer = _TrainerInMemory(experiment, record["seed"], device, workers)
        trainer.watched = (environment, number, purpose)
        checkpoint = _checkpoint_before(directory, experiment, environment, number, purpose, first)
        say(f"from {checkpoint.path.name if checkpoint else 'the beginning'}, without writing anything")
        try:
            _prepare(trainer, checkpoint, record, say)
            trainer.train()
        except _Found as found:
            return _episode(found, trainer)
        finally:
            trainer.close()
    raise UsageError(f"{directory.path} ended before episode {number} of environment {environment} did", _FEWER)


_FEWER = "choose an earlier one; both count from 0"


def play_again(run: Path, episode: TrainingEpisode, path: Path) -> int:
    """Play the episode's actions in a fresh environment and film them; gives the number of frames.

    Raises `ExperimentError` where the environment cannot be drawn, or ends otherwise than it did.
    """
    need(path.suffix)
    make_folder(path.parent)
    experiment = load_run(RunDirectory.of_checkpoint(run)).experiment
    source = environment_of_stage(experiment, episode.stage_index).source
    built = build_environments(source, range(1), 0, "replay", 0)
    with closing(built):
        assert isinstance(built, SerialEnvironments)
        (environment,) = built.environments
        frames = _frames(environment, episode)
        write_film(path, frames, speed_of(environment))
    return len(frames)


def _frames(environment: TrackedEnvironment, episode: TrainingEpisode) -> list[Any]:
    env, frames, total, over = environment.env, [], 0.0, False
    env.unwrapped.render_mode = "rgb_array"
    for _ in range(episode.scenes):
        environment.advance_scene()
    env.reset(seed=episode.seed)
    for step, action in enumerate(episode.actions):
        expert = f"  expert {short(environment.expert_action())}" if step in episode.asked else ""
        frames.append(framed(drawn(environment), [f"action {short(action)}{expert}", f"return {total:.2f}"]))
        _, reward, terminated, truncated, _ = env.step(action)
        total, over = total + float(reward), bool(terminated or truncated)
    if not over or not np.isclose(total, episode.record.episode_return):
        text = f"played again, the episode gives {total:g} and not {episode.record.episode_return:g}"
        raise ExperimentError(text, "the environment does not follow from its seed and its actions alone")
    return [*frames, framed(drawn(environment), [f"step {len(episode.actions)}", f"return {total:.2f}"])]


def _prepare(
    trainer: Trainer, checkpoint: Checkpoint | None, record: dict[str, Any], say: Callable[[str], None]
) -> None:
    """As `launch` does it."""
    if checkpoint is None:
        if record.get("init_from"):
            raise UsageError("a run with --init-from can be replayed from its first checkpoint on", _FEWER)
        trainer.build()
    else:
        for problem in trainer.restore(checkpoint):
            say(f"warning: {problem}; the episode may be another")
    compute_as(record, trainer, say, say)


def _checkpoint_before(
    directory: RunDirectory, experiment: Any, environment: int, number: int, purpose: str, first: int
) -> Checkpoint | None:
    """The newest checkpoint in which the episode has not ended."""
    for path in reversed(list_checkpoints(directory.checkpoints)):
        manifest, fault = examine(path)
        if fault is not None:
            continue
        checkpoint = Checkpoint(path, manifest)
        if checkpoint.manifest["workers"] > 1:
            raise CheckpointError(f"{path} is of several workers", "only what one worker trained can be repeated here")
        index = checkpoint.about["stage_index"]
        if environment_of_stage(experiment, index).purpose != purpose:
            if index < first:
                return checkpoint
            continue
        if checkpoint.own(0)["collector"]["environments"][str(environment)]["episode"] <= number:
            return checkpoint
    return None


def _episode(found: _Found, trainer: _TrainerInMemory) -> TrainingEpisode:
    index, number, purpose = trainer.watched
    progress = trainer.progress
    return TrainingEpisode(
        environment=index,
        number=number,
        purpose=purpose,
        seed=derived_seed(trainer.seed, purpose, index, number),
        stage_index=progress.stage_index,
        total_steps=progress.total_steps,
        actions=found.actions,
        asked=found.asked,
        scenes=found.scenes,
        record=found.record,
    )
