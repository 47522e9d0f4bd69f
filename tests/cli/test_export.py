from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.cli.conftest import Trainctl
from trainctl import TrainctlError, load_policy
from trainctl.core.engine.commands import export as exporting
from trainctl.core.engine.saving.from_checkpoint import open_model
from trainctl.core.model import ActorCriticOutput


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


def test_a_program_acts_as_the_policy(trainctl: Trainctl, finished: Path) -> None:
    assert trainctl("export", "runs/first", "--format", "pt2").code == 0
    program = torch.export.load(finished / "export" / "step-000000000128" / "model.pt2").module()
    policy = load_policy("runs/first")
    for value in (-0.2, 0.0, 0.2):
        observation = torch.tensor([value, -value, value, value])
        actions, values, memory = program(observation[None, None], torch.zeros(0), torch.zeros(1, 1))
        policy.reset()
        assert actions.item() == policy.act(observation.numpy())
        assert values.item() == pytest.approx(policy.value, abs=1e-5)
        assert memory.numel() == 0


class OfTorch(nn.Module):
    """A model that gives a distribution of torch, which looks at its logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, observations: Any, memory: Any, masks: Any) -> ActorCriticOutput:
        distribution, values, memory = self.model(observations, memory, masks)
        return ActorCriticOutput(torch.distributions.Categorical(logits=distribution.logits), values, memory)


def test_a_model_with_a_distribution_of_torch_becomes_a_program(finished: Path, tmp_path: Path) -> None:
    opened = open_model(finished, "cpu")
    opened = opened._replace(model=OfTorch(opened.model))
    assert exporting.export(opened, tmp_path / "out", "pt2")[0].name == "model.pt2"
    with pytest.raises(ValueError, match="invalid values"):
        torch.distributions.Categorical(logits=torch.tensor([float("nan")]))  # it looks again


def test_a_file_that_reads_back_otherwise_is_refused(
    trainctl: Trainctl, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_model(finished, "cpu")
    other = {name: tensor + 1 for name, tensor in opened.model.state_dict().items()}
    monkeypatch.setattr(exporting, "decode_model", lambda data, file: other)
    with pytest.raises(TrainctlError, match="does not hold what was written"):
        exporting.export(opened, tmp_path / "out", "safetensors")


MEMORY = """
import gymnasium
import minigrid
import torch
from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import MiniGridActorCritic
from trainctl.wrappers import TokenizedMission


def empty():
    return TokenizedMission(gymnasium.make("MiniGrid-Empty-5x5-v0"))


def experiment() -> Experiment:
    return Experiment(
        environment=Builder(empty),
        num_envs=2,
        model=Builder(MiniGridActorCritic, {"memory": "gru"}),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO)},
            pipeline_stages=[PipelineStage(loss_names=["ppo"], max_stage_steps=32)],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 1e-3}),
            num_mini_batch=1, update_repeats=1, max_grad_norm=0.5, num_steps=16, gamma=0.99, use_gae=True,
            gae_lambda=0.95, advance_scene_rollout_period=None, save_interval=-1, metric_accumulate_interval=32,
        ),
    )
"""


def test_an_onnx_program_acts_as_the_policy_in_another_runtime(trainctl: Trainctl, finished: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    pytest.importorskip("onnxscript", reason="needs the extra `onnx`")
    said = trainctl("export", "runs/first", "--format", "onnx")
    assert said.code == 0, said.err
    session = runtime.InferenceSession(finished / "export" / "step-000000000128" / "model.onnx")
    policy = load_policy("runs/first")
    for value in (-0.2, 0.0, 0.2):
        observation = np.array([value, -value, value, value], np.float32)
        nothing, begins = np.zeros(0, np.float32), np.zeros((1, 1), np.float32)
        given = {"observations": observation[None, None], "memory": nothing, "masks": begins}
        actions, values, _ = session.run(["actions", "values", "memory_after"], given)
        policy.reset()
        assert actions.item() == policy.act(observation)
        assert values.item() == pytest.approx(policy.value, abs=1e-5)


@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_models_with_memory_and_several_observations_pass_the_round_trip(
    trainctl: Trainctl, tmp_path: Path, form: str
) -> None:
    pytest.importorskip("minigrid", reason="needs the extra `minigrid`")
    if form == "onnx":
        pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
        pytest.importorskip("onnxscript", reason="needs the extra `onnx`")
    (tmp_path / "doors.py").write_text(MEMORY)
    assert trainctl("run", "doors.py", "--name", "first", "--quiet").code == 0
    said = trainctl("export", "runs/first", "--format", form, "--output", "out")
    assert said.code == 0, said.err
    contract = json.loads((tmp_path / "out" / "contract.json").read_text())
    assert contract["memory"] is not None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["contract.json", f"model.{form}"]


def test_without_the_packages_the_command_to_install_them_is_named(
    trainctl: Trainctl, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    said = trainctl("export", "runs/first", "--format", "onnx")
    assert said.code == 2
    assert "pip install 'trainctl[onnx]'" in said.err
