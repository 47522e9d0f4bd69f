from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Trainctl


def test_every_finding_has_a_state_and_what_is_wrong_a_remedy(trainctl: Trainctl, tmp_path: Path) -> None:
    said = trainctl("doctor", "--json")
    findings = {finding["what"]: finding for finding in said.document}
    assert {"torch", "CUDA", "cores", "/dev/shm", "disk", "file locks", "start method"} <= set(findings)
    assert all(bool(finding["mend"]) == (finding["state"] != "ok") for finding in findings.values())
    assert said.code == int(any(finding["state"] == "error" for finding in findings.values()))
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_place_for_runs(trainctl: Trainctl, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    said = trainctl("doctor", "--runs-dir", "taken", "--json")
    assert said.code == 1
    (disk,) = (finding for finding in said.document if finding["what"] == "disk")
    assert (disk["state"], disk["found"]) == ("error", f"{tmp_path / 'taken'} is a file")


def test_the_table_shows_each_finding(trainctl: Trainctl) -> None:
    out = trainctl("doctor").out
    assert all(what in out for what in ("torch", "file locks", "start method"))
