from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv

from tests.demonstrations import LENGTHS, NAME, counting_expert, datasets, record
from tests.toys import CountingEnv, DictEnv, ExpertEnv, SummingModel
from trainctl import ExperimentError
from trainctl.core.engine.playing.demonstration_recorder import ModelPlayer, record_demonstrations
from trainctl.core.errors import UsageError

minari = pytest.importorskip("minari")
__all__ = ["datasets"]  # a fixture

pytestmark = pytest.mark.usefixtures("datasets")


class DictExpertEnv(DictEnv):
    def expert_action(self) -> int:
        return 1


def left_alone() -> set[str]:
    return {path.name for path in Path(minari.storage.get_dataset_path()).iterdir()}


def test_the_dataset_holds_what_the_expert_saw_and_did() -> None:
    recording = record()
    dataset = minari.load_dataset(NAME)
    assert (recording.episodes, recording.steps, recording.left_out) == (6, sum(LENGTHS), 0)
    assert recording.path == Path(minari.storage.get_dataset_path(NAME))
    assert dataset.action_space == counting_expert().action_space
    for number, (episode, length) in enumerate(zip(dataset, LENGTHS, strict=True)):
        np.testing.assert_array_equal(episode.observations[:, 0], 100 * number + np.arange(length + 1))
        np.testing.assert_array_equal(episode.actions, np.arange(length) % 3)
        np.testing.assert_array_equal(episode.rewards, 10 * np.arange(1, length + 1) + np.arange(length) % 3)
        assert episode.terminations.tolist() == [False] * (length - 1) + [True]
        assert not episode.truncations.any()


def test_the_means_are_those_of_the_episodes() -> None:
    assert record(episodes=2).means == {"return": (10 + 21 + 32 + 10 + 21 + 32 + 40 + 51) / 2, "length": 4.0}


def test_dictionaries_are_recorded_as_such() -> None:
    record(DictExpertEnv, episodes=1)
    episode = minari.load_dataset(NAME)[0]
    assert episode.observations["inner"]["parity"].tolist() == [0, 1, 0, 1, 0, 1]


def test_an_existing_dataset_is_never_overwritten() -> None:
    before = record(episodes=2).path / "data" / "metadata.json"
    content = before.read_bytes()
    with pytest.raises(UsageError, match=r"'toys/counting-v0' already[\s\S]*choose another name"):
        record(episodes=3)
    assert before.read_bytes() == content


@pytest.mark.parametrize("name", ["counting", "", "a b-v0", "../out-v0"])
def test_a_name_that_is_none_for_a_dataset_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no name for a dataset"):
        record(name=name)


def test_what_fails_half_way_leaves_nothing_behind() -> None:
    def expert(steps: int) -> int:
        return 1 // (steps < 4)

    with pytest.raises(ZeroDivisionError):
        record(lambda: ExpertEnv(expert, [(3, "terminated"), (5, "terminated")]), episodes=2)
    assert left_alone() == set()


def test_episodes_where_the_expert_had_no_action_are_left_out() -> None:
    made: list[ExpertEnv] = []

    def environment() -> ExpertEnv:
        made.append(ExpertEnv(lambda steps: None if made[0].episode == 1 and steps == 2 else 2, [(3, "terminated")]))
        return made[0]

    recording = record(environment, episodes=3)
    assert (recording.episodes, recording.left_out) == (3, 1)
    assert [int(episode.observations[0, 0]) for episode in minari.load_dataset(NAME)] == [0, 200, 300]


def test_an_expert_that_hardly_ever_has_an_action_is_an_error() -> None:
    with pytest.raises(ExperimentError, match="no action in 14 of 14 episodes"):
        record(lambda: ExpertEnv(lambda steps: None), episodes=3)
    assert left_alone() == set()


def test_an_environment_without_an_expert_is_an_error() -> None:
    with pytest.raises(ExperimentError, match=r"no expert_action\(\)"):
        record(CountingEnv)


def test_a_vector_environment_is_refused() -> None:
    with pytest.raises(ExperimentError, match=r"recorded in a gymnasium\.Env"):
        record(lambda num_envs: SyncVectorEnv([ExpertEnv] * num_envs))


def test_a_model_remembers_its_episode_and_forgets_the_one_before() -> None:
    values: list[float] = []

    class Listening(SummingModel):
        def forward(self, *arguments: Any) -> Any:
            output = super().forward(*arguments)
            values.append(round(output.values.item(), 4))
            return output

    player = ModelPlayer(Listening(), torch.device("cpu"), seed=0, deterministic=True)
    script = [(3, "terminated"), (2, "terminated")]
    record_demonstrations(lambda: CountingEnv(script), player, 2, NAME, seed=0, description="")
    assert values == [0.0, 0.0001, 0.0003, 0.01, 0.0201]
    actions = [episode.actions.tolist() for episode in minari.load_dataset(NAME)]
    assert actions == [[0, 1, 2], [100 % 3, 101 % 3]]


def test_progress_is_told_after_each_episode() -> None:
    told: list[int] = []
    player = ModelPlayer(SummingModel(), torch.device("cpu"), seed=0, deterministic=False)
    record_demonstrations(CountingEnv, player, 3, NAME, seed=0, description="", on_episode=told.append)
    assert told == [1, 2, 3]
