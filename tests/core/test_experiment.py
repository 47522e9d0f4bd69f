"""Loading an experiment file: its neighbours, its parameters, its output; and the declaration itself."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from typing import Any, Literal

import pytest

from trainctl import Builder, Experiment, ExperimentError
from trainctl.core.environment_ids import id_complaint, register_environment
from trainctl.core.errors import collect_faults
from trainctl.core.experiment_file import load_experiment, source_files
from trainctl.core.parameters import _REJECTED, parameters_of, read

HEAD = """\
    from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline

    def loss(batch, output):
        return None

    def pipeline():
        return TrainingPipeline(
            {"loss": loss}, [PipelineStage(["loss"], 100)], Builder(dict), 1, 1, 0.5, 8, 0.9, True, 0.9, None, None, 50
        )
"""


@pytest.fixture(autouse=True)
def path_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def write(folder: Path, name: str = "exp.py", body: str = "", signature: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    end = f"\ndef experiment({signature}):\n    return Experiment('CartPole-v1', 4, Builder(dict), pipeline())\n"
    (folder / name).write_text(dedent(HEAD) + dedent(body) + end)
    return folder / name


# Loading


def test_an_experiment_is_loaded_with_its_parameters(tmp_path: Path) -> None:
    file = write(tmp_path, signature="learning_rate: float = 2.5e-4, num_envs: int = 8, name='first'")
    loaded = load_experiment(file, {"learning_rate": "1e-3"})
    assert isinstance(loaded.experiment, Experiment)
    assert loaded.parameters == {"learning_rate": 1e-3, "num_envs": 8, "name": "first"}
    assert (loaded.path, loaded.module_name) == (file, "exp")


def test_a_relative_path_and_a_link_lead_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "real")
    (tmp_path / "link.py").symlink_to(file)
    monkeypatch.chdir(tmp_path)
    assert load_experiment("real/exp.py", {}).path == file
    assert load_experiment(Path("link.py"), {}).path == file


def test_what_the_file_prints_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_experiment(write(tmp_path, body="print('hello from the file')"), {})
    assert capsys.readouterr() == ("", "hello from the file\n")


def test_ctrl_c_goes_through(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_experiment(write(tmp_path, body="raise KeyboardInterrupt"), {})


def test_what_the_users_code_raised_is_the_cause(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError) as caught:
        load_experiment(write(tmp_path, body="[][3]"), {})
    assert isinstance(caught.value.__cause__, IndexError)


def test_the_module_can_be_imported_by_its_name_afterwards(tmp_path: Path) -> None:
    loaded = load_experiment(write(tmp_path, "my-exp.py"), {})
    assert loaded.module_name == "my-exp"
    assert sys.modules["my-exp"].__file__ == str(loaded.path)
    assert sys.path[0] == str(tmp_path)


def test_a_changed_file_and_its_changed_neighbour_are_read_anew(tmp_path: Path) -> None:
    body = "from neighbour import STEPS\nVALUE = STEPS"
    (tmp_path / "neighbour.py").write_text("STEPS = 1")
    load_experiment(write(tmp_path, body=body), {})
    (tmp_path / "neighbour.py").write_text("STEPS = 20")  # of another length: Python compares sizes and seconds
    load_experiment(write(tmp_path, body=body), {})
    assert sys.modules["exp"].VALUE == 20


def test_experiments_with_neighbours_of_one_name_do_not_mix(tmp_path: Path) -> None:
    body = "import neighbour\nWHERE = neighbour.__file__"
    for name in ("one", "two"):
        file = write(tmp_path / name, body=body)
        (tmp_path / name / "neighbour.py").write_text("")
        load_experiment(file, {})
        assert str(tmp_path / name / "neighbour.py") == sys.modules["exp"].WHERE
    assert str(tmp_path / "one") not in sys.path


def test_a_file_whose_load_failed_can_be_loaded_once_it_is_mended(tmp_path: Path) -> None:
    file = write(tmp_path, body="1 / 0")
    with pytest.raises(ExperimentError, match="ZeroDivisionError"):
        load_experiment(file, {})
    assert load_experiment(write(tmp_path), {}).module_name == "exp"


def test_a_name_that_somebody_imported_already_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "taken", type(sys)("taken"))
    with pytest.raises(ExperimentError, match="a module 'taken' is imported already"):
        load_experiment(write(tmp_path, "taken.py"), {})


def test_faults_are_raised_at_once_again_after_a_load(tmp_path: Path) -> None:
    load_experiment(write(tmp_path), {})
    with pytest.raises(ExperimentError):
        Experiment("CartPole-v1", 0, Builder(dict), None)  # type: ignore[arg-type]


def test_source_files_are_the_file_and_its_imported_neighbours(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / ".venv" / "site-packages").mkdir(parents=True)
    for name in ("used.py", "unused.py", "package/__init__.py", "package/inner.py", ".venv/site-packages/installed.py"):
        (tmp_path / name).write_text("")
    body = f"""
    import sys, json, used, package.inner
    sys.path.append({str(tmp_path / ".venv" / "site-packages")!r})
    import installed
    """
    loaded = load_experiment(write(tmp_path, body=body), {})
    names = [file.relative_to(tmp_path).as_posix() for file in source_files(loaded)]
    assert names == ["exp.py", "package/__init__.py", "package/inner.py", "used.py"]


# --set


def experiment(
    rate: float = 0.1,
    count: int = 2,
    name: str = "a",
    seeds: list[int] | None = None,
    kind: Literal["adam", "sgd"] = "adam",
    path: Path | None = None,
    flag: bool = False,
    untyped=(1, 2),  # type: ignore[no-untyped-def]
    anything=None,
) -> None:
    pass


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("rate", "1e-3", 1e-3),
        ("rate", "3", 3.0),
        ("rate", "inf", float("inf")),
        ("count", "1_000", 1000),
        ("count", "1e6", 1_000_000),
        ("name", "5", "5"),
        ("name", "true", "true"),
        ("name", " two words ", " two words "),
        ("seeds", "[1, 2]", [1, 2]),
        ("seeds", "none", None),
        ("kind", "sgd", "sgd"),
        ("path", "maps/5", Path("maps/5")),
        ("path", "None", None),
        ("flag", "True", True),
        ("flag", "false", False),
        ("untyped", "(3, 4, 5)", (3, 4, 5)),
        ("anything", "(3, 'x')", (3, "x")),
        ("anything", "plain words", "plain words"),
    ],
)
def test_a_setting_is_read_as_the_signature_says(key: str, text: str, value: Any) -> None:
    found = parameters_of(experiment, {key: text})[key]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (float, "true"),
        (int, "1.5"),
        (int, ""),
        (bool, "maybe"),
        (Literal["adam"], "rmsprop"),
        (int, "(" * 500),
        (Builder, "x"),
    ],
)
def test_a_text_of_another_type_is_rejected(wanted: Any, text: str) -> None:
    assert read(text, wanted) is _REJECTED


def test_nothing_in_a_setting_is_executed() -> None:
    assert read("__import__('os').getcwd()", Any) == "__import__('os').getcwd()"


def test_an_annotation_that_is_only_for_type_checkers_falls_back_to_the_default() -> None:
    def experiment(count: "OnlyForTypes" = 3) -> None:  # type: ignore[name-defined]  # noqa: F821, UP037
        pass

    assert parameters_of(experiment, {"count": "4"}) == {"count": 4}


def test_every_parameter_without_a_value_is_named() -> None:
    def experiment(count: int, rate: float, *, name: str, kind: str = "x") -> None:
        pass

    with pytest.raises(ExperimentError) as caught:
        parameters_of(experiment, {"rate": "0.5"})
    assert [fault.message for fault in caught.value.faults] == [
        "the parameter 'count' has no value",
        "the parameter 'name' has no value",
    ]


# The declaration


def test_a_broken_experiment_is_refused_where_it_is_written() -> None:
    with collect_faults() as faults:
        Experiment(
            environment=3,  # type: ignore[arg-type]
            num_envs=True,
            environment_groups=0,
            model=dict,  # type: ignore[arg-type]
            pipeline=[],  # type: ignore[arg-type]
            normalize_rewards=1,  # type: ignore[arg-type]
        )
    places = [(fault.message.split()[0], fault.location.source.split("=")[0]) for fault in faults if fault.location]
    words = ("environment", "num_envs", "environment_groups", "model", "pipeline", "normalize_rewards")
    assert sorted(places) == sorted((word, word) for word in words)


# Ids


def test_an_id_of_minigrid_is_known_without_importing_minigrid() -> None:
    pytest.importorskip("minigrid")
    assert id_complaint("MiniGrid-DoorKey-5x5-v0") is None
    assert id_complaint("BabyAI-GoToLocal-v0") is None


def test_an_id_of_atari_is_known_without_importing_ale_py() -> None:
    pytest.importorskip("ale_py")
    assert id_complaint("ALE/Pong-v5") is None


def test_a_module_before_the_colon_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mazes_of_a_test.py").write_text(
        "import gymnasium\ngymnasium.register('MazeOfATest-v3', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert id_complaint("mazes_of_a_test:MazeOfATest-v3") is None
    assert id_complaint("MazeOfATest") == ("the environment id 'MazeOfATest' has no version", "write 'MazeOfATest-v3'")


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    register_environment("MiniGrid-Nothing-v0")
    assert id_complaint("MiniGrid-Nothing-v0") == (
        "the environment 'MiniGrid-Nothing-v0' needs a package that is not installed",
        'pip install "trainctl[minigrid]"',
    )
    assert id_complaint("HalfCheetah-v5") == (
        "the environment 'HalfCheetah-v5' needs the package 'mujoco', which is not installed",
        'pip install "trainctl[mujoco]"',
    )
