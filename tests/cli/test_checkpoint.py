from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Trainctl


def test_ls_shows_each_checkpoint_with_its_place_and_its_size(trainctl: Trainctl, finished: Path) -> None:
    (finished / "checkpoints" / "step-000000000064" / "training.pt").write_bytes(b"")
    said = trainctl("checkpoint", "ls", finished)
    assert said.code == 0
    for words in ("step-000000000032", "bit-exact", "kB", "the stage's end", "training.pt: 0 bytes"):
        assert words in said.out
    rows = trainctl("checkpoint", "ls", finished, "--json").document
    assert [row["total_steps"] for row in rows] == [32, 64, 96, 128]
    assert [row["valid"] for row in rows] == [True, False, True, True]
    assert (rows[0]["stage"], rows[0]["stage_ended"]) == ("warm up", False)
    assert (rows[3]["stage_ended"], rows[3]["reason"]) == (True, None)
    assert rows[1]["reason"].startswith("training.pt: 0 bytes instead of")
    assert min(row["bytes"] for row in rows) > 1000


def test_verify_names_what_is_damaged_and_ends_with_3(trainctl: Trainctl, finished: Path) -> None:
    assert trainctl("checkpoint", "verify", finished).code == 0
    newest = finished / "checkpoints" / "step-000000000128"
    (newest / "manifest.json").unlink()
    said = trainctl("checkpoint", "verify", finished, "--json")
    assert said.code == 3
    assert [row["valid"] for row in said.document] == [True, True, True, False]
    assert said.document[3] == {"checkpoint": str(newest), "valid": False, "reason": "manifest.json is missing"}
    said = trainctl("checkpoint", "verify", newest)
    assert said.code == 3
    assert "1 checkpoints, 1 of them damaged" in said.out


def test_prune_keeps_the_last_and_the_stages_ends(trainctl: Trainctl, finished: Path) -> None:
    (finished / "checkpoints" / "step-000000000128.damaged-0123abcd").mkdir()
    said = trainctl("checkpoint", "prune", finished, "--keep", 1, "--json")
    assert said.code == 0
    gone = [Path(path).name for path in said.document]
    assert gone == ["step-000000000096", "step-000000000032", "step-000000000128.damaged-0123abcd"]
    left = sorted(path.name for path in (finished / "checkpoints").iterdir())
    assert left == ["step-000000000064", "step-000000000128"]


def test_a_run_that_is_not_there_is_refused(trainctl: Trainctl) -> None:
    said = trainctl("checkpoint", "ls", "runs/second")
    assert said.code == 3
    assert "runs/second does not exist" in said.err
