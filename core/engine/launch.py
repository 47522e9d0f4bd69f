"""From a command to a training: starts runs, resumes them, and says how they ended."""

from __future__ import annotations

import contextlib
import secrets
import time
from dataclasses import replace
from pathlib import Path

from ..description import describe, plain
from ..errors import RunInUseError, TrainctlError, UsageError
from ..experiment_file import LoadedExperiment, source_files
from ..source_files import code_of
from .adjustments import load_adjusted
from .attempt import Display as Display
from .attempt import NoDisplay as NoDisplay
from .attempt import outcome_of, sinks_of, train
from .building import load_model, threads_for
from .device import prepare
from .options import AS_IT_WAS, Outcome, RunOptions, Wish
from .reporting.wandb_sink import need_wandb
from .saving.checkpoint import Checkpoint, newest_valid, remove_leftovers
from .saving.checkpoint_directory import set_aside
from .saving.from_checkpoint import checkpoint_at, chosen_checkpoint, load_run
from .saving.guarantee import differences, guarantee_of, promised
from .saving.kept_experiment import keep_experiment
from .saving.resuming import change_run, newer_than, wish_of
from .saving.run_directory import RunDirectory, default_name, last_status
from .trainer import Trainer
from .workers.dealing import deal
from .workers.signals import StopRequest
from .workers.workers import ONE_PROCESS, Fleet, WorkerGroup, worker_group


def start(options: RunOptions, display: Display, command: list[str], request: StopRequest | None = None) -> Outcome:
    """Begin a new run and train it to its end; with the name of an unfinished run of this experiment go on with that.

    The experiment is built before anything is written. request: one that has been listening for signals already.
    """
    if options.wandb is not None:
        need_wandb()
    loaded = load_adjusted(options.experiment, options.settings, options.adjustments)
    existing = RunDirectory(options.runs_dir / options.name) if options.name else None
    if existing is not None and existing.is_run() and not existing.is_finished():
        wish, device_name = wish_of(existing, loaded, options, display.warn), options.device
        return resume(
            existing.path, display, None if device_name == "auto" else device_name, options.fleet, wish, request
        )
    if options.init_from is not None:
        options = replace(options, init_from=checkpoint_at(options.init_from, display.warn).path)
    if not options.fleet.is_single:
        deal(loaded.experiment.num_envs, options.fleet.nproc)  # refused before anything is written
        directory = _create_or_join(options, loaded, command)
        return resume(directory.path, display, fleet=options.fleet, request=request)
    device = prepare(options.device, options.deterministic)
    with worker_group(device) as workers:
        trainer = Trainer(loaded.experiment, options.seed, device, workers, about={"code": _code_of(loaded)})
        trainer.build()
        _initialize(trainer, options.init_from)
        threads = threads_for(loaded.experiment, trainer.model, trainer.collector.observation_bytes())
        path = workers.from_first(str(_create(options, loaded, command, threads).path) if workers.is_first else "")
        directory = RunDirectory(Path(path))
        with _lock(directory, workers):
            asked = request or StopRequest()
            return train(
                directory, trainer, loaded, display, "new run", None, promised(trainer), asked, options.profile
            )


def resume(
    path: Path,
    display: Display,
    device: str | None = None,
    fleet: Fleet = ONE_PROCESS,
    wish: Wish = AS_IT_WAS,
    request: StopRequest | None = None,
) -> Outcome:
    """Go on with a run (its newest valid checkpoint) or with one of its checkpoints; from the start if it has none."""
    directory = RunDirectory.of_checkpoint(path)
    path = change_run(path, directory, wish, display.warn)
    if not fleet.is_single:
        return _resume_with_workers(path, directory, device, fleet)
    record = directory.read_run()
    prepared = prepare(device or record["device"], record["deterministic"])
    with worker_group(prepared) as workers, _lock(directory, workers):
        loaded = load_run(directory)
        if workers.is_first:
            remove_leftovers(directory.checkpoints)
        trainer = Trainer(loaded.experiment, record["seed"], prepared, workers, about={"code": _code_of(loaded)})
        checkpoint = chosen_checkpoint(path, directory, display.warn)
        if checkpoint is None:
            trainer.build()
            _initialize(trainer, Path(record["init_from"]) if record.get("init_from") else None)
            message = "no checkpoint yet: from the start"
            return train(
                directory, trainer, loaded, display, message, None, promised(trainer), request or StopRequest()
            )
        if workers.is_first:
            set_aside(newer_than(checkpoint, directory))
        trainer.sinks = sinks_of(directory, display, checkpoint.step, trainer)
        problems = [problem for own in workers.gather(trainer.restore(checkpoint)) for problem in own]
        if trainer.is_finished:
            trainer.close()
            return outcome_of(directory, trainer, "complete", already_complete=True)
        edited = trainer.changes if wish == AS_IT_WAS else []  # what is wished is known
        changed = [f"changed since {checkpoint.path.name}: {one.key}: {one.before} → {one.now}" for one in edited]
        for problem in dict.fromkeys([*problems, *changed, *differences(checkpoint, trainer)]):
            display.warn(problem)
        guarantee = guarantee_of(checkpoint, problems, trainer)
        message = f"resuming from {checkpoint.path.name}, guarantee: {guarantee}"
        name = checkpoint.path.name
        return train(directory, trainer, loaded, display, message, name, guarantee, request or StopRequest())


def _create(options: RunOptions, loaded: LoadedExperiment, command: list[str], threads: int = 1) -> RunDirectory:
    """The run directory with everything that a resume needs."""
    name = options.name or default_name(loaded.path.stem, options.seed)
    try:
        return RunDirectory.create(
            options.runs_dir, name, lambda directory: _fill(directory, options, loaded, command, threads)
        )
    except UsageError as error:
        existing = RunDirectory(options.runs_dir / name)
        if existing.is_run() and not existing.is_finished():  # it was not there when `start` looked for it
            raise RunInUseError(f"{existing.path} has just been begun by another process", "wait for it") from error
        raise


def _fill(
    directory: RunDirectory, options: RunOptions, loaded: LoadedExperiment, command: list[str], threads: int
) -> None:
    keep_experiment(loaded, directory.experiment)
    directory.write_json(directory.pipeline, describe(loaded.experiment))
    directory.record_run(
        loaded.path.parent,
        command=command,
        experiment=loaded.path.name,
        settings=dict(options.settings),
        parameters=plain(loaded.parameters),
        seed=options.seed,
        device=options.device,
        deterministic=options.deterministic,
        compile=options.compile,
        bfloat16=options.bfloat16,
        threads=threads,
        init_from=None if options.init_from is None else str(options.init_from.resolve()),
        adjustments=options.adjustments.to_json(),
        keep=options.keep,
        wandb=None if options.wandb is None else {"mode": options.wandb, "id": secrets.token_hex(4)},
        histograms=options.histograms,
        films=options.films,
    )


def _create_or_join(options: RunOptions, loaded: LoadedExperiment, command: list[str]) -> RunDirectory:
    """Of several machines the first makes the run directory, which all share; the others find it by its name."""
    if options.fleet.nnodes == "1" or options.fleet.node_rank == 0:
        return _create(options, loaded, command)
    if options.name is None:
        raise UsageError("several machines need a common --name", "give all the same --name, --runs-dir and --nnodes")
    try:
        return _create(options, loaded, command) if options.fleet.node_rank is None else _named(options)
    except UsageError:
        return _named(options)


def _named(options: RunOptions, patience: float = 600.0) -> RunDirectory:
    """The run directory that another machine makes: it may take that machine a moment."""
    directory = RunDirectory(options.runs_dir / (options.name or ""))
    until = time.monotonic() + patience
    while not directory.is_run():
        if time.monotonic() > until:
            text = f"no other machine has made {directory.path} within {patience:g} s"
            raise UsageError(text, "start the machine with --node-rank 0; --runs-dir must be shared by all machines")
        time.sleep(0.1)
    return directory


def _code_of(loaded: LoadedExperiment) -> dict[str, str]:
    return code_of(source_files(loaded), loaded.path.parent)


def _initialize(trainer: Trainer, init_from: Path | None) -> None:
    """Begin with the weights of a checkpoint, if there is one; everything else begins anew."""
    if init_from is None:
        return
    source = Checkpoint.open(init_from)
    load_model(trainer.model, source)
    trainer.about["init_from"] = str(source.path)


def _resume_with_workers(path: Path, directory: RunDirectory, device: str | None, fleet: Fleet) -> Outcome:
    """Have the launcher resume the run in every worker, and read how it ended from what they wrote."""
    from .workers.elastic import launch_workers  # takes a second to import

    arguments = ["resume", "--checkpoint", str(path), *(["--device", device] if device else []), *fleet.worker_options]
    launch_workers(arguments, fleet, directory.logs, directory.path.name)
    record = directory.read_run()
    newest, _ = newest_valid(directory.checkpoints)
    status = last_status(record) or "interrupted"
    if status not in ("complete", "preempted", "interrupted"):
        raise TrainctlError(f"the workers of {directory.path} ended without saying how", f"see {directory.logs}")
    total_steps, stage = record.get("total_steps", 0), record.get("stage", "")
    return Outcome(directory.path, status, total_steps, stage, newest.path if newest else None)


def _lock(directory: RunDirectory, workers: WorkerGroup) -> contextlib.AbstractContextManager[None]:
    return directory.lock() if workers.is_first else contextlib.nullcontext()
