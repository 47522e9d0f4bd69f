"""An episode in which an environment failed, repeated: its seed, its actions, and what happens this time."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import CheckpointError, did_you_mean
from ..building import StageEnvironment, environment_of_stage
from ..environments import build_environments
from ..environments.serial import SerialEnvironments, in_words
from ..saving.from_checkpoint import load_run
from ..saving.run_directory import RunDirectory


class Replayed(NamedTuple):
    """How a repeated episode went.

    * recorded: what was noted when it failed. steps: how many of its actions were taken before it ended.
    * found: what happened this time; None if nothing failed.
    """

    recorded: dict[str, Any]
    steps: int
    found: str | None


def replay_failure(run: Path, name: str) -> Replayed:
    """Repeat a failure of a run in a process of its own, e.g. "environment-3-episode-7".

    Raises `CheckpointError`, with the failures that there are, if this is none of them.
    """
    directory = RunDirectory.of_checkpoint(run)
    files = {path.stem: path for path in sorted(directory.failures.glob("*.json"))}
    if name.removesuffix(".json") not in files:
        raise CheckpointError(f"{directory.path} has no failure {name!r}", did_you_mean(name, files))
    recorded = directory.read_json(files[name.removesuffix(".json")])
    experiment, seed = load_run(directory).experiment, directory.read_run()["seed"]
    environment = environment_of_stage(experiment, recorded.get("stage_index", 0))
    steps, found = _in_a_child((environment, seed, recorded), experiment.environment_timeout)
    return Replayed(recorded, steps, found)


def _in_a_child(failed: tuple[StageEnvironment, int, dict[str, Any]], timeout: float) -> tuple[int, str | None]:
    """Steps taken, and what failed: it may raise, end its process or hang, and this process outlives all of these."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_play, args=(theirs, *failed), daemon=True)
    process.start()
    theirs.close()
    steps = 0
    try:
        while ours.poll(timeout):
            word = ours.recv()
            if not isinstance(word, int):
                return steps, word
            steps = word
        return steps, f"it has not answered for {timeout:g} s: an environment hangs"
    except EOFError:
        process.join(1)
        return steps, f"its process died with exit code {process.exitcode}"
    finally:
        process.kill()
        process.join()


def _play(pipe: Connection, environment: StageEnvironment, seed: int, recorded: dict[str, Any]) -> None:
    """Tell the number of each step that is taken, and at the end what failed, or None.

    The environment is the one of the training, with its index and its episode, and what it gives is looked at alike.
    """
    try:
        built = build_environments(environment.source, [recorded["environment"]], seed, environment.purpose)
        assert isinstance(built, SerialEnvironments), "failures of vector environments are not recorded"
        (tracked,) = built.environments
        tracked.advance_to(recorded.get("scenes", 0))
        tracked.episode = recorded["episode"] - 1
        tracked.reset()
        asked = recorded.get("asked", [])
        for number, action in enumerate([*np.array(recorded["actions"], recorded["dtype"]), None]):
            if number in asked:
                tracked.expert_action()
            if action is not None:
                tracked.step(action)
                pipe.send(number + 1)
        pipe.send(None)
    except Exception as error:
        pipe.send(in_words(error))
