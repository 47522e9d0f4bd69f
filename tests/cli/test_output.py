from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

import pytest

from trainctl.cli.output import lasting, lasting_output, print_document


def test_numbers_that_are_not_finite_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_document({"success": {"mean": math.nan, "values": (1.5, -math.inf)}, "episodes": 3, "name": "NaN"})
    found = json.loads(capsys.readouterr().out)
    assert found == {"success": {"mean": None, "values": [1.5, None]}, "episodes": 3, "name": "NaN"}


def test_a_stream_without_a_reader_leads_nowhere() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as pipe:
        with pytest.raises(BrokenPipeError):
            pipe.write("nobody reads this\n")
        stream = lasting(pipe)
        print("nor this", file=stream, flush=True)
        assert (stream.encoding, stream.fileno()) == (pipe.encoding, pipe.fileno())
        pipe.write("and now the pipe itself leads nowhere\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_no_reason_to_end() -> None:
    with open("/dev/full", "w") as full, open("/dev/full", "w", buffering=1) as by_lines:
        for file in (full, by_lines):
            stream = lasting(file)
            stream.write("no room for this\n")
            stream.flush()


def test_a_slow_reader_misses_something_and_not_the_rest() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb", buffering=0) as reader, os.fdopen(writing, "w") as pipe:
        stream = lasting(pipe)
        for _ in range(100):
            stream.write("x" * 10_000)
            stream.flush()
        while reader.read(100_000).endswith(b"x" * 10):
            stream.write("the end\n")
            stream.flush()


def test_what_can_be_written_is_written(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        assert lasting(file).write("five\n") == 5
    assert (tmp_path / "log").read_text() == "five\n"


def test_within_the_context_all_that_is_printed_lasts(capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with lasting_output():
        print("to stdout")
        print("to stderr", file=sys.stderr)
    assert (sys.stdout, sys.stderr) == before
    assert capfd.readouterr() == ("to stdout\n", "to stderr\n")
