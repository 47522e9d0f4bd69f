"""Toys that each ask for one ability, with known best returns, and the way to train in them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.core.engine.playing.evaluation import evaluate
from trainctl.core.engine.trainer import Trainer
from trainctl.core.engine.workers.workers import SingleWorker
from trainctl.models import MLPActorCritic

CPU = torch.device("cpu")


class Toy(gymnasium.Env[Any, Any]):
    """Shows something, rewards the answer to it, shows the next; truncated after `length` answers."""

    length = 8

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.show(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        reward = self.reward(action)
        return self.show(), reward, False, self.steps == self.length, {}

    def show(self) -> Any:
        """The next observation."""
        raise NotImplementedError

    def reward(self, action: Any) -> float:
        """What the answer to the last observation is worth."""
        raise NotImplementedError


class Identity(Toy):
    """Answer with what is shown, one of four: 1 for each answer that is right. Best: 8, by chance: 2.

    Its expert knows the answer.
    """

    observation_space = spaces.Discrete(4)
    action_space: Any = spaces.Discrete(4)

    def show(self) -> Any:
        self.shown = int(self.np_random.integers(4))
        return self.shown

    def reward(self, action: Any) -> float:
        return float(action == self.shown)

    def expert_action(self) -> int:
        """The right answer."""
        return self.shown


class TwoDigits(Identity):
    """Answer with the two binary digits of what is shown. Best: 8, by chance: 2."""

    action_space = spaces.MultiDiscrete([2, 2])

    def reward(self, action: Any) -> float:
        return float(2 * action[0] + action[1] == self.shown)


class BrightCorner(Identity):
    """Answer with the number of the corner of the image that is bright. Best: 8, by chance: 2."""

    observation_space = spaces.Box(0, 255, (8, 8, 1), np.uint8)  # type: ignore[assignment]

    def show(self) -> Any:
        row, column = divmod(super().show(), 2)
        image = np.zeros((8, 8, 1), np.uint8)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 200
        return image


class Reach(Toy):
    """Walk to the origin of the plane, at most 1 along each axis in a step; costs the distance that is left.

    It begins at a distance of at most 2 along each axis. Best: about -0.6, standing still: about -12.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-2, 2, 2)
        self.steps = 0
        return self.show(), {}

    def show(self) -> Any:
        return getattr(self, "position", np.zeros(2)).copy()

    def reward(self, action: Any) -> float:
        self.position = self.position + action
        return -float(np.linalg.norm(self.position))


class Cue(Toy):
    """Shows 0 or 1 at first and 2 from then on; the last of four answers earns 1 if it is what was shown at first.

    Best: 1, without memory: 0.5.
    """

    observation_space = spaces.Discrete(3)
    action_space = spaces.Discrete(2)
    length = 4

    def show(self) -> int:
        if self.steps == 0:
            self.cue = int(self.np_random.integers(2))
            return self.cue
        return 2

    def reward(self, action: Any) -> float:
        return float(self.steps == self.length and action == self.cue)


class Doors(Toy):
    """Eight doors in a row, each opened by one of four keys; the wrong key ends the episode. 1 for each door.

    Best: 8, by chance: 0.33. Its expert knows the keys.
    """

    observation_space = spaces.Discrete(9)
    action_space = spaces.Discrete(4)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        right = action == self.expert_action()
        observation, reward, _, ended, info = super().step(action)
        return observation, reward, ended or not right, False, info

    def show(self) -> int:
        return self.steps

    def reward(self, action: Any) -> float:
        return float(action == (self.steps - 1) * 3 % 4)

    def expert_action(self) -> int:
        """The right key."""
        return self.steps * 3 % 4


class Wages(Toy):
    """Pays the same each step of an episode, 0 or 1, whatever is done; it is over after five, or only cut off.

    Shows the steps taken (0 again after five), and 5 more where the pay is 1.
    """

    observation_space = spaces.Discrete(10)
    action_space = spaces.Discrete(2)
    length = 5

    def __init__(self, over: bool) -> None:
        self.over = over

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.pay = int(np.random.default_rng(seed).integers(2))
        return super().reset(seed=seed)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, _, ended, info = super().step(action)
        return observation, reward, ended and self.over, ended and not self.over, info

    def show(self) -> int:
        return self.steps % self.length + self.length * self.pay

    def reward(self, action: Any) -> float:
        return float(self.pay)


def trained(
    environment: Any,
    loss: Any,
    steps: int,
    *,
    model: Any = None,
    learning_rate: float = 1e-2,
    teacher_forcing: Any = None,
    seed: int = 0,
    **settings: Any,
) -> torch.nn.Module:
    """A model that one loss trained in eight environments, on one thread."""
    torch.set_num_threads(1)
    stage = PipelineStage(loss_names=["loss"], max_stage_steps=steps, teacher_forcing=teacher_forcing)
    plain: dict[str, Any] = {
        "num_steps": 32,
        "num_mini_batch": 4,
        "update_repeats": 4,
        "gamma": 0.9,
        "use_gae": True,
        "gae_lambda": 0.95,
        "max_grad_norm": 0.5,
        "grad_norm_type": 2,
        "advance_scene_rollout_period": None,
        "save_interval": None,
        "metric_accumulate_interval": 1_000,
    }
    pipeline = TrainingPipeline(
        named_losses={"loss": loss},
        pipeline_stages=[stage],
        optimizer_builder=Builder(torch.optim.Adam, {"lr": learning_rate}),
        **{**plain, **settings},
    )
    model = model or Builder(MLPActorCritic, {"hidden_sizes": (32,)})
    trainer = Trainer(Experiment(environment, 8, model, pipeline), seed, CPU, SingleWorker())
    trainer.build()
    trainer.train()
    trainer.close()
    return trainer.model


def mean_return(model: torch.nn.Module, environment: Any, deterministic: bool = True, episodes: int = 200) -> float:
    """The mean return over so many episodes, with the most probable actions or with sampled ones."""
    played = evaluate(model, environment, episodes, seed=1, device=CPU, deterministic=deterministic)
    return float(np.mean([episode.episode_return for episode in played]))
