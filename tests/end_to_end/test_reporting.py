"""What a run tells beside its metrics: films, histograms, its source, Weights & Biases; none of it moves a bit."""

from __future__ import annotations

import importlib.util
import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.end_to_end.runs import EXPERIMENT, metrics, weights
from trainctl.core.engine.launch import NoDisplay, resume, start
from trainctl.core.engine.options import Outcome, RunOptions
from trainctl.core.engine.workers.signals import StopRequest
from trainctl.core.metrics import LoggingPackage


class StopsAfter(NoDisplay):
    """Asks to save and leave when so many intervals were shown."""

    def __init__(self, intervals: int) -> None:
        self.request, self.left = StopRequest(), intervals

    def write(self, package: LoggingPackage) -> None:
        self.left -= 1
        if self.left == 0:
            self.request._note(15, None)


def train(folder: Path, name: str, **options: Any) -> Outcome:
    file = folder / "small.py"
    file.write_text(EXPERIMENT)
    settings = {"steps": "800"}
    return start(RunOptions(file, settings, seed=1, name=name, runs_dir=folder / "runs", **options), NoDisplay(), [])


def events_of(run: Path) -> EventAccumulator:
    reader = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "tensors": 0, "histograms": 0})
    reader.Reload()
    return reader


def test_films_and_histograms_are_on_tensorboard_and_move_no_bit_of_the_training(tmp_path: Path) -> None:
    plain = train(tmp_path, "plain")
    told = train(tmp_path, "told", films=True, histograms=True)
    assert weights(told) == weights(plain)
    assert metrics(told) == metrics(plain)
    events = events_of(told.run)
    film = events.Images("episode/film")[0]
    with Image.open(io.BytesIO(film.encoded_image_string)) as image:
        assert image.format == "GIF"
        assert image.n_frames > 2
        assert image.size == (film.width, film.height)
    histograms = events.Tags()["histograms"]
    assert "parameters/value_head.0.layers.0.bias" in histograms
    assert [point.step for point in events.Histograms("parameters/value_head.0.layers.0.bias")] == [
        line["total_steps"] for line in metrics(told)
    ]
    assert not events_of(plain.run).Tags()["histograms"]
    assert not events_of(plain.run).Tags()["images"]


def test_the_source_and_the_stages_stand_on_tensorboard_as_text(tmp_path: Path) -> None:
    events = events_of(train(tmp_path, "plain").run)
    texts = {
        tag: [point.tensor_proto.string_val[0].decode() for point in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
        if tag.endswith("/text_summary")
    }
    assert texts["experiment/small.py/text_summary"][0].splitlines()[0] == "    "
    assert "    def experiment(steps: int = 1000" in texts["experiment/small.py/text_summary"][0]
    assert len(texts["pipeline/stage_begins/text_summary"]) == 2
    assert len(texts["pipeline/stage_ends/text_summary"]) == 2


def test_the_end_of_a_stage_stays_on_tensorboard_when_the_run_goes_on_from_there_or_is_over(tmp_path: Path) -> None:
    outcome = train(tmp_path, "plain")
    for checkpoint in ("step-000000000800", "step-000000001600"):
        resume(outcome.run / "checkpoints" / checkpoint, NoDisplay())
        ends = events_of(outcome.run).Tensors("pipeline/stage_ends/text_summary")
        assert [end.step for end in ends] == [800, 1600]


def test_an_environment_that_cannot_be_drawn_costs_a_warning(tmp_path: Path) -> None:
    class Warned(NoDisplay):
        said: list[str]

        def warn(self, text: str) -> None:
            self.said.append(text)

    display = Warned()
    display.said = []
    file = tmp_path / "small.py"
    file.write_text(
        "import gymnasium\n"
        "class Dark(gymnasium.Wrapper):\n"
        "    def __init__(self):\n        super().__init__(gymnasium.make('CartPole-v1'))\n"
        "    def render(self):\n        return None\n" + EXPERIMENT.replace('"CartPole-v1"', "Builder(Dark)")
    )
    outcome = start(RunOptions(file, {"steps": "800"}, name="dark", runs_dir=tmp_path, films=True), display, [])
    assert outcome.status == "complete"
    assert len(display.said) == 1
    assert "no films: the environment" in display.said[0]


# Weights & Biases

needs_wandb = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="needs the extra `wandb`")


def told_to_wandb(run: Path) -> tuple[set[str], list[tuple[int, dict[str, float]]]]:
    """The ids of the run, and each point: step, tag -> value; read from the records of its offline files."""
    from wandb.proto import wandb_internal_pb2

    ids, points = set[str](), list[tuple[int, dict[str, float]]]()
    for file in sorted((run / "wandb").glob("offline-run-*/*.wandb")):
        for data in records(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                ids.add(record.run.run_id)
            if record.WhichOneof("record_type") == "history":
                items = {(item.key or item.nested_key[0]): json.loads(item.value_json) for item in record.history.item}
                points.append((int(items["_step"]), {k: v for k, v in items.items() if not k.startswith("_")}))
    return ids, points


def records(data: bytes) -> list[bytes]:
    """LevelDB's log format: blocks of 32 kB of pieces, each with its length and kind (whole, first, middle, last)."""
    found, piece, at = [], b"", 7
    while at + 7 <= len(data):
        if 0x8000 - at % 0x8000 < 7:
            at += 0x8000 - at % 0x8000
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        piece += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            found.append(piece)
            piece = b""
    return found


@needs_wandb
@pytest.mark.filterwarnings("ignore")  # of wandb's own insides
def test_weights_and_biases_has_each_point_once_in_one_run_after_a_resume(tmp_path: Path) -> None:
    file = tmp_path / "small.py"
    file.write_text(EXPERIMENT)
    display = StopsAfter(2)
    options = RunOptions(file, {"steps": "800"}, seed=1, name="told", runs_dir=tmp_path / "runs", wandb="offline")
    stopped = start(options, display, [], display.request)
    assert (stopped.status, stopped.total_steps) == ("preempted", 1000)
    done = resume(stopped.run, NoDisplay())
    ids, points = told_to_wandb(done.run)
    assert ids == {json.loads((done.run / "run.json").read_text())["wandb"]["id"]}
    assert [step for step, _ in points] == [400, 800, 1200, 1600]
    for (_, told), line in zip(points, metrics(done), strict=True):
        assert {tag: told[tag] for tag in line["means"] if tag in told} == line["means"]
    assert weights(done) == weights(train(tmp_path, "plain"))


def test_without_the_package_the_command_to_install_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(Exception, match=r"pip install 'trainctl\[wandb\]'"):
        train(tmp_path, "told", wandb="offline")
    assert not (tmp_path / "runs").exists()
