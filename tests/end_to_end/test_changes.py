"""A run that goes on with another experiment, other settings, more steps, or from the start of a stage."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.runs import EXPERIMENT, checkpoint_steps, metrics, run, weights
from trainctl.core.engine.launch import NoDisplay, resume, start
from trainctl.core.engine.options import Outcome, RunOptions, Wish
from trainctl.core.engine.saving.checkpoint import Checkpoint
from trainctl.core.engine.saving.run_directory import RunDirectory
from trainctl.core.errors import CheckpointError, ExperimentChangedError, UsageError


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished run "first": two stages of 1,000 steps, saved every 200."""
    folder = tmp_path_factory.mktemp("original")
    run(folder, "first", save=200)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return tmp_path


def go_on(path: Path, warned: list[str] | None = None, **wish: Any) -> Outcome:
    """warned: gets the warnings."""
    display = NoDisplay()
    display.warn = [].append if warned is None else warned.append  # type: ignore[method-assign]
    return resume(path, display, wish=Wish(**wish))


def last_attempt(outcome: Outcome) -> dict[str, Any]:
    attempt: dict[str, Any] = RunDirectory(outcome.run).read_run()["attempts"][-1]
    return attempt


def test_the_last_stage_can_be_lengthened_and_ends_like_one_that_was_longer_from_the_start(folder: Path) -> None:
    longer = run(folder, "longer", save=200, stages=3)
    extended = go_on(folder / "runs" / "first", extend_steps=400)
    assert extended.total_steps == 2400
    assert checkpoint_steps(extended) == list(range(200, 2401, 200))
    record = RunDirectory(extended.run).read_run()
    assert record["adjustments"]["extend_steps"] == 400
    assert [stage["steps"] for stage in record["stages"]] == [1000, 1400]
    # what a third stage of the same losses does in its first 400 steps
    same = [Checkpoint.open(outcome.run / "checkpoints" / "step-000000002400") for outcome in (longer, extended)]
    assert same[0].manifest["files"]["model.safetensors"] == same[1].manifest["files"]["model.safetensors"]
    assert go_on(extended.run, extend_steps=200).total_steps == 2600


def test_what_was_edited_in_the_copy_of_a_run_is_named(folder: Path) -> None:
    source = folder / "runs" / "first" / "experiment" / "small.py"
    source.write_text(source.read_text().replace("gamma=0.99", "gamma=0.98"))
    warned: list[str] = []
    outcome = go_on(folder / "runs" / "first" / "checkpoints" / "step-000000001800", warned)
    assert "changed since step-000000001800: stages[1].settings.gamma: 0.99 → 0.98" in warned
    assert last_attempt(outcome)["guarantee"] == "continued"


def test_a_model_with_memory_may_have_fewer_minibatches_than_asked_for_and_says_so(tmp_path: Path) -> None:
    source = EXPERIMENT.replace('"hidden_sizes": (16,)', '"hidden_sizes": (16,), "memory": "gru", "memory_size": 4')
    (tmp_path / "small.py").write_text(source.replace("num_mini_batch=2", "num_mini_batch=8"))
    display, warned = NoDisplay(), list[str]()
    display.warn = warned.append  # type: ignore[method-assign]
    options = RunOptions(tmp_path / "small.py", {"steps": "200", "stages": "1"}, runs_dir=tmp_path / "runs")
    start(options, display, ["test"])
    assert [text.partition(":")[2][:41] for text in warned] == [" 4 minibatches and not num_mini_batch=8: "]


def test_settings_that_do_no_harm_need_no_permission(folder: Path) -> None:
    whole = run(folder, "whole", save=200)
    path = folder / "runs" / "first" / "checkpoints" / "step-000000001200"
    outcome = go_on(path, settings={"save": "1000"})
    assert weights(outcome) == weights(whole)
    assert checkpoint_steps(outcome) == [200, 400, 600, 800, 1000, 1200, 2000]
    assert last_attempt(outcome)["guarantee"] == "bit-exact"


def test_what_changes_the_training_is_refused_with_a_table_and_the_ways_on(folder: Path) -> None:
    path = folder / "runs" / "first"
    before = (path / "run.json").read_text("utf-8")
    with pytest.raises(ExperimentChangedError) as refusal:
        go_on(path, settings={"num_steps": "100", "save": "50"})
    text = str(refusal.value)
    assert refusal.value.exit_code == 4
    for row in ("stages[0].settings.num_steps", "changes training", "stages[0].settings.save_interval", "harmless"):
        assert row in text
    again = f"--set save=50 --set num_steps=100 --seed 1 --init-from {path}"
    for way in ("--allow-changes", f"trainctl resume --checkpoint {path}", again):
        assert way in text
    assert (path / "run.json").read_text("utf-8") == before


def test_allowed_changes_are_recorded_and_lower_the_guarantee(folder: Path) -> None:
    path = folder / "runs" / "first" / "checkpoints" / "step-000000001200"
    outcome = go_on(path, settings={"num_steps": "100"}, allow_changes=True)
    assert checkpoint_steps(outcome) == [200, 400, 600, 800, 1000, 1200, 1600, 2000]
    assert last_attempt(outcome)["guarantee"] == "continued"
    record = RunDirectory(outcome.run).read_run()
    assert record["settings"]["num_steps"] == "100"
    (change,) = record["changes"]
    assert change["since"] == "step-000000001200"
    assert "stages[0].settings.num_steps" in change["changes"][0]
    assert outcome.checkpoint is not None
    assert Checkpoint.open(outcome.checkpoint).about["guarantee"] == "continued"


def test_an_edited_experiment_takes_the_place_of_the_run_s_own_copy(folder: Path) -> None:
    source = (folder / "small.py").read_text("utf-8")
    (folder / "faster.py").write_text(source.replace('{"lr": 1e-3}', '{"lr": 5e-3}'), "utf-8")
    path = folder / "runs" / "first" / "checkpoints" / "step-000000001200"
    with pytest.raises(ExperimentChangedError, match=r"optimizer\.arguments\.lr +0\.001 +0\.005"):
        go_on(path, experiment=folder / "faster.py")
    outcome = go_on(path, experiment=folder / "faster.py", allow_changes=True)
    rates = {line["total_steps"]: line["means"]["train/learning_rate"] for line in metrics(outcome)}
    # of the two rollouts that began at 1,400 and at 1,600 of 2,000 steps
    assert rates[1800] == pytest.approx(5e-3 * (1 - 1500 / 2000))
    assert (outcome.run / "experiment" / "faster.py").is_file()
    assert (outcome.run / "experiment.before-change-1" / "small.py").is_file()


@pytest.mark.parametrize("renamed", [1, 2])
def test_a_change_that_was_killed_before_it_stood_in_the_record_never_was(
    folder: Path, renamed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (folder / "small.py").read_text("utf-8")
    (folder / "faster.py").write_text(source.replace('{"lr": 1e-3}', '{"lr": 5e-3}'), "utf-8")
    path, rename, done = folder / "runs" / "first" / "checkpoints" / "step-000000001200", Path.rename, list[Path]()

    def die_after(own: Path, target: Path) -> Path:
        done.append(rename(own, target))
        if len(done) == renamed:
            raise KeyboardInterrupt
        return done[-1]

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", die_after)
        with pytest.raises(KeyboardInterrupt):
            go_on(path, experiment=folder / "faster.py", allow_changes=True)
    assert weights(go_on(path)) == weights(run(folder, "whole", save=200))
    assert [one.name for one in (folder / "runs" / "first" / "experiment").glob("*.py")] == ["small.py"]
    assert not list((folder / "runs" / "first").glob("experiment.before-change-*"))


def test_a_comment_is_no_change(folder: Path) -> None:
    whole = run(folder, "whole", save=200)
    (folder / "small.py").write_text((folder / "small.py").read_text("utf-8") + "\n# a comment\n", "utf-8")
    path = folder / "runs" / "first" / "checkpoints" / "step-000000000400"
    outcome = go_on(path, experiment=folder / "small.py")
    assert weights(outcome) == weights(whole)
    assert last_attempt(outcome)["guarantee"] == "bit-exact"


def test_code_that_changes_no_setting_is_named_and_nothing_exact_is_promised_from_then_on(folder: Path) -> None:
    (folder / "small.py").write_text((folder / "small.py").read_text("utf-8") + "\nREWARD = 2\n", "utf-8")
    path = folder / "runs" / "first" / "checkpoints"
    edited = "small.py is not as it was when step-{:012} was written: not with the same bits"
    own = folder / "runs" / "first" / "experiment" / "small.py"
    for step, wish in ((1600, {"experiment": folder / "small.py"}), (1400, {}), (1200, {"experiment": own})):
        warned: list[str] = []
        outcome = go_on(path / f"step-{step:012}", warned, **wish)
        assert warned == [edited.format(step)]
        assert last_attempt(outcome)["guarantee"] == "continued"


def test_what_an_experiment_imports_and_reads_only_later_is_found_by_a_resume(folder: Path) -> None:
    source = (folder / "small.py").read_text("utf-8")
    late = """
def decay(step):
    import rates
    return rates.read(step)
"""
    (folder / "late.py").write_text(source.replace("LinearDecay(2 * steps)", "decay") + late, "utf-8")
    read = "from pathlib import Path\ndef read(step): return float((Path(__file__).parent / 'rate.txt').read_text())\n"
    (folder / "rates.py").write_text(read, "utf-8")
    (folder / "rate.txt").write_text("0.25", "utf-8")
    path = folder / "runs" / "first" / "checkpoints" / "step-000000001600"
    outcome = go_on(path, experiment=folder / "late.py", allow_changes=True)
    assert metrics(outcome)[-1]["means"]["train/learning_rate"] == pytest.approx(0.25e-3)


def test_another_model_is_impossible_also_where_changes_are_allowed(folder: Path) -> None:
    source = (folder / "small.py").read_text("utf-8")
    (folder / "wider.py").write_text(source.replace("(16,)", "(24,)"), "utf-8")
    with pytest.raises(ExperimentChangedError) as refusal:
        go_on(folder / "runs" / "first", experiment=folder / "wider.py", allow_changes=True)
    assert "(16, 4)" in str(refusal.value)
    assert "(24, 4)" in str(refusal.value)
    assert "impossible" in str(refusal.value)


def test_another_number_of_environments_begins_their_episodes_anew(folder: Path) -> None:
    source = (folder / "small.py").read_text("utf-8")
    (folder / "more.py").write_text(source.replace("num_envs=4", "num_envs=8"), "utf-8")
    path = folder / "runs" / "first" / "checkpoints" / "step-000000001200"
    warned: list[str] = []
    outcome = go_on(path, warned, experiment=folder / "more.py", allow_changes=True)
    assert checkpoint_steps(outcome)[-2:] == [1600, 2000]
    assert "the experiment has changed, so this begins anew: collector" in warned


def test_another_number_of_groups_goes_on_with_the_same_episodes_if_allowed(folder: Path) -> None:
    source = (folder / "small.py").read_text("utf-8")
    (folder / "grouped.py").write_text(source.replace("num_envs=", "environment_groups=2, num_envs="), "utf-8")
    path = folder / "runs" / "first" / "checkpoints" / "step-000000001200"
    with pytest.raises(ExperimentChangedError, match=r"environment_groups +None +2 +changes training"):
        go_on(path, experiment=folder / "grouped.py")
    warned: list[str] = []
    outcome = go_on(path, warned, experiment=folder / "grouped.py", allow_changes=True)
    assert outcome.total_steps == 2000
    assert last_attempt(outcome)["guarantee"] == "continued"
    assert [text.split()[0] for text in warned] == ["grouped.py"]


def test_a_stage_can_be_begun_again_from_its_start(folder: Path) -> None:
    whole = run(folder, "whole", save=200)
    outcome = go_on(folder / "runs" / "first", from_stage="ppo-2")
    assert last_attempt(outcome)["from_checkpoint"] == "step-000000001000"
    assert weights(outcome) == weights(whole)
    assert metrics(outcome) == metrics(whole)
    assert checkpoint_steps(outcome)[:5] == [200, 400, 600, 800, 1000]
    aside = [path.name for path in (outcome.run / "checkpoints").iterdir() if "replaced" in path.name]
    assert len(aside) == 5


def test_the_first_stage_begins_without_any_checkpoint(folder: Path) -> None:
    whole = run(folder, "whole", save=200)
    outcome = go_on(folder / "runs" / "first", from_stage="ppo-1")
    assert last_attempt(outcome)["from_checkpoint"] is None
    assert weights(outcome) == weights(whole)
    assert metrics(outcome) == metrics(whole)


def test_a_stage_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no stage 'ppo2'\n.*known: 'ppo-1', 'ppo-2' \(did you mean"):
        go_on(folder / "runs" / "first", from_stage="ppo2")


def test_a_stage_whose_start_was_not_kept_cannot_be_begun_again(folder: Path) -> None:
    shutil.rmtree(folder / "runs" / "first" / "checkpoints" / "step-000000001000")
    with pytest.raises(CheckpointError, match="no valid checkpoint of the end of the stage 'ppo-1'"):
        go_on(folder / "runs" / "first", from_stage="ppo-2")


def test_an_older_checkpoint_leaves_the_newer_ones_aside(folder: Path) -> None:
    """Else a kill before the next save would go on from the branch that was left."""
    path = folder / "runs" / "first" / "checkpoints"
    go_on(path / "step-000000000600")
    assert len(list(path.glob("step-*.replaced-*"))) == 7
    assert len(list(path.glob("step-????????????"))) == 10


def test_a_new_run_can_begin_with_the_weights_of_another_and_says_so(folder: Path) -> None:
    source = folder / "runs" / "first" / "checkpoints" / "step-000000000600"
    options = RunOptions(folder / "small.py", seed=5, name="heir", runs_dir=folder / "runs", init_from=source)
    outcome = start(options, NoDisplay(), ["test"])
    assert outcome.status == "complete"
    assert RunDirectory(outcome.run).read_run()["init_from"] == str(source.resolve())
    assert outcome.checkpoint is not None
    assert Checkpoint.open(outcome.checkpoint).about["init_from"] == str(source.resolve())
    other = start(RunOptions(folder / "small.py", seed=5, name="other", runs_dir=folder / "runs"), NoDisplay(), [])
    assert weights(outcome) != weights(other)


def test_keep_is_remembered_and_never_takes_a_stage_s_last(tmp_path: Path) -> None:
    file = tmp_path / "small.py"
    run(tmp_path, "all", save=200)
    settings = {"save": "200"}
    options = RunOptions(file, settings, seed=1, name="few", runs_dir=tmp_path / "runs", keep=2)
    outcome = start(options, NoDisplay(), ["test"])
    assert checkpoint_steps(outcome) == [1000, 1800, 2000]
    assert checkpoint_steps(go_on(outcome.run, extend_steps=600)) == [1000, 2000, 2400, 2600]
