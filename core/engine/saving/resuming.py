"""Before a run goes on: what the command wants changed in it is checked, and written into the run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...description import describe, plain
from ...errors import CheckpointError, UsageError, did_you_mean
from ...experiment_file import LoadedExperiment, source_files
from ...source_files import code_of, edited
from ..adjustments import Adjustments, load_adjusted
from ..building import build_model, environment_of_stage
from ..environments import build_environments
from ..options import AS_IT_WAS, RunOptions, Wish
from ..progress import STOPPED_EARLY
from .changes import HARMLESS, Change, changes, refuse_changes, shape_changes, stage_changes, table, ways_on
from .checkpoint import Checkpoint, list_checkpoints
from .checkpoint_directory import set_aside
from .from_checkpoint import Warn, chosen_checkpoint, load_run
from .kept_experiment import keep_experiment
from .run_directory import RunDirectory


def change_run(path: Path, directory: RunDirectory, wish: Wish, warn: Warn) -> Path:
    """Write what is wished into the run; gives the run or the checkpoint from which to go on.

    Raises `ExperimentChangedError` for a change of the training that is not allowed, or cannot be.
    """
    take_back_unfinished_change(directory)
    if wish == AS_IT_WAS:
        return path
    with directory.lock():
        record = directory.read_run()
        loaded, adjustments = _wished(directory, record, wish)
        if wish.from_stage is not None:
            checkpoint = _before_stage(directory, loaded, wish.from_stage)
        else:
            checkpoint = chosen_checkpoint(path, directory, warn)
        found = _changes(directory, loaded, checkpoint)
        _refuse(found, path, record, loaded, checkpoint, wish)
        _write(directory, record, loaded, adjustments, wish, found, checkpoint)
        if checkpoint is None:
            set_aside(list_checkpoints(directory.checkpoints))
    return directory.path if checkpoint is None else checkpoint.path


def take_back_unfinished_change(directory: RunDirectory) -> None:
    """Where a process was killed while it changed a run's experiment, which never came to its record, it is again
    what it was."""
    if not _replaced_experiment(directory, directory.read_run()).exists():
        return
    with directory.lock():
        before = _replaced_experiment(directory, directory.read_run())
        if before.exists():  # and no other process was still at it
            shutil.rmtree(directory.experiment, ignore_errors=True)
            before.rename(directory.experiment)
            directory.write_json(directory.pipeline, describe(load_run(directory).experiment))


def _replaced_experiment(directory: RunDirectory, record: dict[str, Any]) -> Path:
    """Where the experiment is kept that the next change takes the place of."""
    return directory.path / f"experiment.before-change-{len(record.get('changes', [])) + 1}"


def wish_of(directory: RunDirectory, loaded: LoadedExperiment, options: RunOptions, warn: Warn) -> Wish:
    """What a command that would begin a run, and finds it begun, wants changed in it.

    Options that change no bit of the training are written into the run. Raises `ExperimentChangedError` for others.
    """
    take_back_unfinished_change(directory)
    check_same(directory, loaded, options)
    for name in _edited(directory, loaded):
        warn(
            f"{name} is not as it was when {directory.path} began, which goes on with its copy; to go on with the "
            f"new one: trainctl resume --checkpoint {directory.path} --experiment {options.experiment}"
        )
    for name in ("profile", "wandb"):
        if getattr(options, name) and not directory.read_run().get(name):
            warn(f"--{name} is for a new run; {directory.path} has begun without it")
    record = directory.read_run()
    asked = {name: getattr(options, name) for name in ("keep", "histograms", "films") if getattr(options, name)}
    if any(value != record.get(name) for name, value in asked.items()):
        with directory.lock():
            directory.update(**asked)
    return AS_IT_WAS if options.settings == record["settings"] else Wish(settings=options.settings)


def check_same(directory: RunDirectory, loaded: LoadedExperiment, options: RunOptions) -> None:
    """Refuse to take a run for one of another experiment or seed, or with options that it did not begin with."""
    path, record = directory.path, directory.read_run()
    before = {"seed": record["seed"], **directory.read_json(directory.pipeline)}
    found = [*changes(before, {"seed": options.seed, **describe(loaded.experiment)}), *_other_options(record, options)]
    ways = ways_on(path, options.experiment, options.settings, options.seed, _given(options))
    refuse_changes(found, f"{ways}\n  start a new run:                      choose another --name")


def _given(options: RunOptions) -> list[str]:
    """The words of what else was said about a training, and of where it is to be."""
    flags = [f"--{name}" for name in ("deterministic", "compile", "bfloat16") if getattr(options, name)]
    stage = options.adjustments.first_stage or ""
    named = [
        ("--device", options.device, "auto"),
        ("--from-stage", stage, ""),
        ("--runs-dir", str(options.runs_dir), "runs"),
    ]
    return [*flags, *(word for name, value, usual in named if value != usual for word in (name, value))]


def _other_options(record: Mapping[str, Any], options: RunOptions) -> Iterator[Change]:
    """Options that decide about the bits, are given, and are not as the run has them."""
    for name in ("deterministic", "compile", "bfloat16"):
        if getattr(options, name) and not record.get(name):
            yield Change(f"--{name}", False, True)
    if options.init_from is not None and not _is_of(record.get("init_from"), options.init_from.resolve()):
        yield Change("--init-from", record.get("init_from"), str(options.init_from))


def _is_of(checkpoint: str | None, path: Path) -> bool:
    """Whether a checkpoint is of the run that a path means: it may have others by now."""
    if checkpoint is None:
        return False
    return path == Path(checkpoint) or Path(checkpoint).parent in (path / "checkpoints", path.parent)


def _edited(directory: RunDirectory, loaded: LoadedExperiment) -> list[str]:
    """The source files of an experiment whose code differs from that of a run's copies of them."""
    copies = [directory.experiment / name for name in directory.sources()]
    return edited(code_of(copies, directory.experiment), code_of(source_files(loaded), loaded.path.parent))


def newer_than(checkpoint: Checkpoint, directory: RunDirectory) -> list[Path]:
    """The checkpoints of a branch that is left when the run goes on from an older one."""
    listed = list_checkpoints(directory.checkpoints)
    names = [path.name for path in listed]
    return listed[names.index(checkpoint.path.name) + 1 :] if checkpoint.path.name in names else []


def _wished(directory: RunDirectory, record: dict[str, Any], wish: Wish) -> tuple[LoadedExperiment, Adjustments]:
    before = Adjustments(**record.get("adjustments", {}))
    adjustments = replace(before, extend_steps=before.extend_steps + wish.extend_steps)
    file = wish.experiment or directory.experiment / record["experiment"]
    return load_adjusted(file, {**record["settings"], **wish.settings}, adjustments), adjustments


def _before_stage(directory: RunDirectory, loaded: LoadedExperiment, name: str) -> Checkpoint | None:
    """The checkpoint of the end of the stage before; None for the first stage."""
    names = loaded.experiment.pipeline.stage_names()
    if name not in names:
        raise UsageError(f"there is no stage {name!r}", did_you_mean(name, names))
    index = names.index(name)
    if index == 0:
        return None
    for path in reversed(list_checkpoints(directory.checkpoints)):
        try:
            checkpoint = Checkpoint.open(path)
        except CheckpointError:
            continue
        if checkpoint.about.get("stage_ended") and checkpoint.about.get("stage_index") == index - 1:
            return checkpoint
    raise CheckpointError(
        f"there is no valid checkpoint of the end of the stage {names[index - 1]!r}, after which {name!r} begins",
        "`trainctl checkpoint ls` shows what is there",
    )


def _changes(directory: RunDirectory, loaded: LoadedExperiment, checkpoint: Checkpoint | None) -> list[Change]:
    """What differs between the experiment of the checkpoint and the one that is wished."""
    now = describe(loaded.experiment)
    saved = checkpoint.about.get("experiment") if checkpoint else None
    before = saved or directory.read_json(directory.pipeline)
    found = list(changes(before, now))
    if checkpoint is not None and any(change.kind != HARMLESS for change in found):
        found += stage_changes(before, now, checkpoint.about["stage_index"])
        found += _shape_changes(loaded, checkpoint)
    return found


def _shape_changes(loaded: LoadedExperiment, checkpoint: Checkpoint) -> list[Change]:
    stage_index = checkpoint.about["stage_index"]
    probe = build_environments(environment_of_stage(loaded.experiment, stage_index).source, range(1), 0, "probe")
    model = build_model(loaded.experiment, probe.observation_space, probe.action_space, 0)
    probe.close()
    return list(shape_changes(checkpoint.model(), model.state_dict()))


def _refuse(
    found: list[Change],
    path: Path,
    record: dict[str, Any],
    loaded: LoadedExperiment,
    checkpoint: Checkpoint | None,
    wish: Wish,
) -> None:
    stages = loaded.experiment.pipeline.pipeline_stages
    if wish.extend_steps and checkpoint is not None:
        progress = checkpoint.shared()["progress"]
        if progress["stage_index"] == len(stages) - 1 and progress["stage_ended"] == STOPPED_EARLY:
            raise UsageError(
                "the last stage was stopped early by its criterion; more steps would not make it go on",
                "begin it again with --from-stage, or change its criterion in the experiment",
            )
    ways = ways_on(path, wish.experiment or loaded.path, {**record["settings"], **wish.settings}, record["seed"])
    lengthened = f"stages[{len(stages) - 1}].max_stage_steps"
    unasked = [change for change in found if not (wish.extend_steps and change.concerns(lengthened))]
    anyway = "continue anyway:                      add --allow-changes"
    refuse_changes(unasked, f"{anyway}\n  {ways}", wish.allow_changes)


def _write(
    directory: RunDirectory,
    record: dict[str, Any],
    loaded: LoadedExperiment,
    adjustments: Adjustments,
    wish: Wish,
    found: list[Change],
    checkpoint: Checkpoint | None,
) -> None:
    """From here on this is the run's experiment; what it was before stays beside it."""
    if wish.experiment is not None:
        new = directory.path / "experiment.new"  # beside the old one, which it may be made from
        shutil.rmtree(new, ignore_errors=True)  # what was left by a process that was killed just here
        keep_experiment(loaded, new)
        directory.experiment.rename(_replaced_experiment(directory, record))
        new.rename(directory.experiment)
    directory.write_json(directory.pipeline, describe(loaded.experiment))
    since = checkpoint.path.name if checkpoint else None
    entry = {"since": since, "from_stage": wish.from_stage, "changes": table(found)[1:]}
    directory.update(
        experiment=loaded.path.name,
        settings={**record["settings"], **wish.settings},
        parameters=plain(loaded.parameters),
        adjustments=adjustments.to_json(),
        changes=[*record.get("changes", []), entry],
    )
