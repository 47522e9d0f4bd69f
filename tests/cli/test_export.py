from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.conftest import Trainctl
from trainctl import TrainctlError, load_policy
from trainctl.core.engine import export as exporting
from trainctl.core.engine.from_checkpoint import open_model


def test_parameters_are_the_checkpoints_own(trainctl: Trainctl, finished: Path, tmp_path: Path) -> None:
    document = trainctl("export", "runs/first", "--output", "out", "--json").document
    assert document["files"] == ["out/model.safetensors", "out/contract.json"]
    exported = load_file(tmp_path / "out" / "model.safetensors")
    saved = load_file(Path(document["checkpoint"]) / "model.safetensors")
    assert set(exported) == set(saved)
    assert all(torch.equal(exported[name], saved[name]) for name in saved)
    contract = json.loads((tmp_path / "out" / "contract.json").read_text())
    assert contract["observations"] == {"": {"shape": [4], "dtype": "float32"}}
    assert (contract["action_space"], contract["memory"], contract["total_steps"]) == ("Discrete(2)", None, 128)


@pytest.mark.filterwarnings("ignore")  # torch.export warns of its own insides
def test_a_program_acts_as_the_policy(trainctl: Trainctl, finished: Path) -> None:
    assert trainctl("export", "runs/first", "--format", "pt2").code == 0
    program = torch.export.load(finished / "export" / "step-000000000128" / "model.pt2").module()
    policy = load_policy("runs/first")
    for value in (-0.2, 0.0, 0.2):
        observation = torch.tensor([value, -value, value, value])
        actions, values, memory = program(observation[None, None], torch.zeros(0), torch.zeros(1, 1))
        policy.reset()
        assert int(actions) == policy.act(observation.numpy())
        assert float(values) == pytest.approx(policy.value, abs=1e-5)
        assert memory.numel() == 0


def test_a_file_that_reads_back_otherwise_is_refused(
    trainctl: Trainctl, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_model(finished, "cpu")
    monkeypatch.setattr(exporting, "load_file", lambda file: {n: t + 1 for n, t in opened.model.state_dict().items()})
    with pytest.raises(TrainctlError, match="does not hold what was written"):
        exporting.export(opened, tmp_path / "out", "safetensors")
