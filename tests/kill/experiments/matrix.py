"""One experiment for each way to train: what `verify-resume` has to find bit-exact."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

from trainctl import (
    Builder,
    Experiment,
    LinearDecay,
    OffPolicyPipelineComponent,
    PipelineStage,
    StopWhenMetricReaches,
    TrainingPipeline,
)
from trainctl.demonstrations import MinariSequences, share_of_worker
from trainctl.losses import A2C, PPO, BehaviorCloning, Imitation
from trainctl.models import CNNActorCritic, MiniGridActorCritic, MLPActorCritic
from trainctl.wrappers import BabyAIExpert, SuccessMetric, TokenizedMission


class Balancing(gymnasium.Wrapper[Any, Any, Any, Any]):
    """CartPole with an expert that leans against the fall and knows nothing far from the middle; it has scenes."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("CartPole-v1", disable_env_checker=True))
        self.scene = 0

    def expert_action(self) -> int | None:
        position, _, angle, falling = self.unwrapped.state  # type: ignore[attr-defined]
        return int(angle + falling > 0) if abs(position) < 0.5 else None

    def advance_scene(self) -> None:
        self.scene += 1
        self.unwrapped.length = 0.5 + 0.05 * (self.scene % 5)  # type: ignore[attr-defined]


class Endless(gymnasium.Env[Any, Any]):
    """A walk in gusts that never ends: replaying it would take ever longer, so it has a state of its own."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.place = 0.0
        return self.observation(), {}

    def step(self, action: Any) -> Any:
        self.place = 0.9 * self.place + (2 * int(action) - 1) + self.np_random.normal()
        return self.observation(), -abs(self.place), False, False, {}

    def observation(self) -> Any:
        return np.array([self.place], np.float32)

    def state_dict(self) -> dict[str, Any]:
        return {"place": self.place, "random": self.np_random.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        self.place, self.np_random.bit_generator.state = state["place"], state["random"]
        return self.observation()


class CartPoles(CartPoleVectorEnv):
    """Gymnasium's native vector environment, with a state."""

    def state_dict(self) -> dict[str, Any]:
        arrays = {name: torch.from_numpy(np.array(getattr(self, name))) for name in ("state", "steps", "prev_done")}
        return {**arrays, "random": self.np_random.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        self.reset(seed=0)
        self.np_random.bit_generator.state = state["random"]
        self.state, self.steps, self.prev_done = (state[name].numpy() for name in ("state", "steps", "prev_done"))
        return self.state.T.astype(np.float32)


def minigrid_env() -> gymnasium.Env[Any, Any]:
    import minigrid

    gymnasium.register_envs(minigrid)
    env = gymnasium.make("MiniGrid-Dynamic-Obstacles-5x5-v0", disable_env_checker=True)
    return SuccessMetric(TokenizedMission(env))


def babyai_env() -> gymnasium.Env[Any, Any]:
    import minigrid

    gymnasium.register_envs(minigrid)
    env = gymnasium.make("BabyAI-GoToLocal-v0", disable_env_checker=True)
    return SuccessMetric(TokenizedMission(BabyAIExpert(env)))


def atari_env() -> gymnasium.Env[Any, Any]:
    import ale_py
    from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

    gymnasium.register_envs(ale_py)
    env = gymnasium.make("ALE/Pong-v5", frameskip=1, repeat_action_probability=0.25, disable_env_checker=True)
    return FrameStackObservation(AtariPreprocessing(env, noop_max=30, screen_size=84), stack_size=4)


def made_up_demonstrations(seed: int, batches: int = 7) -> Iterator[dict[str, torch.Tensor]]:
    """An iterator without a state of its own: a resume takes as many batches again."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(batches):
        observations = torch.randn(8, 4, 4, generator=generator)
        ones = torch.ones(8, 4)
        yield {
            "observations": observations,
            "actions": (observations[..., 2] > 0).long(),
            "masks": ones,
            "valid": ones.bool(),
        }


def seed_of(cur_worker: int, rollouts_per_worker: list[int], seed: int | None) -> dict[str, Any]:
    return {"seed": seed or 0}


def demonstrations(kind: str) -> OffPolicyPipelineComponent | None:
    if kind == "demonstrations":
        return OffPolicyPipelineComponent(made_up_demonstrations, ["cloning"], 2, None, seed_of)
    if kind == "minari":
        sequences = Builder(MinariSequences, {"dataset": "matrix/expert-v0", "num_steps": 8, "num_sequences": 3})
        return OffPolicyPipelineComponent(sequences, ["cloning"], 2, None, share_of_worker)
    return None


ENVIRONMENTS: dict[str, Any] = {
    "endless": Builder(Endless),
    "vector": Builder(CartPoles),
    "minigrid": Builder(minigrid_env),
    "babyai": Builder(babyai_env),
    "mujoco": "HalfCheetah-v5",
    "atari": Builder(atari_env),
}
MODELS: dict[str, Any] = {
    "gru": Builder(MLPActorCritic, {"hidden_sizes": (16,), "memory": "gru", "memory_size": 16}),
    "groups": Builder(MLPActorCritic, {"hidden_sizes": (16,), "memory": "gru", "memory_size": 16}),
    "lstm": Builder(MLPActorCritic, {"hidden_sizes": (16,), "memory": "lstm", "memory_size": 16}),
    "normalisation": Builder(MLPActorCritic, {"hidden_sizes": (16,), "normalize_observations": True}),
    "mujoco": Builder(MLPActorCritic, {"hidden_sizes": (16,), "normalize_observations": True}),
    "minigrid": Builder(MiniGridActorCritic, {"cell_size": 8}),
    "babyai": Builder(MiniGridActorCritic, {"cell_size": 8, "memory": "gru", "memory_size": 32}),
    "atari": Builder(CNNActorCritic, {"features": 32}),
}
PPO_AND_EXPERT = ("teacher", "babyai", "groups")


def stages(kind: str, steps: int) -> list[PipelineStage]:
    """Most are two: so that there is a stage's end to be killed at."""
    if kind in PPO_AND_EXPERT:
        first = PipelineStage(loss_names=["imitation"], max_stage_steps=steps, teacher_forcing=LinearDecay(steps))
        return [first, PipelineStage(loss_names=["ppo", "imitation"], max_stage_steps=steps, loss_weights=[1, 0.3])]
    criterion = StopWhenMetricReaches("return", 18, consecutive_intervals=2) if kind == "early_stopping" else None
    loss = "a2c" if kind == "a2c" else "ppo"
    first = PipelineStage(
        loss_names=[loss],
        max_stage_steps=steps,
        early_stopping_criterion=criterion,
        offpolicy_component=demonstrations(kind),
    )
    second = PipelineStage(
        loss_names=[loss], max_stage_steps=steps, restart_optimizer=True, offpolicy_component=demonstrations(kind)
    )
    return [first, second]


def experiment(kind: str = "ppo", steps: int = 1024, num_envs: int = 4, datasets: str = "") -> Experiment:
    if datasets:
        os.environ["MINARI_DATASETS_PATH"] = datasets
    return Experiment(
        environment=ENVIRONMENTS.get(kind, Builder(Balancing)),
        num_envs=num_envs,
        model=MODELS.get(kind, Builder(MLPActorCritic, {"hidden_sizes": (16,)})),
        normalize_rewards=kind in ("normalisation", "mujoco"),
        environment_processes=2 if kind in ("processes", "groups") else 0,
        environment_groups=2 if kind == "groups" else 1,
        pipeline=TrainingPipeline(
            named_losses={
                "ppo": Builder(PPO),
                "a2c": Builder(A2C),
                "imitation": Builder(Imitation),
                "cloning": Builder(BehaviorCloning),
            },
            pipeline_stages=stages(kind, steps),
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 1e-3}),
            lr_scheduler_builder=Builder(torch.optim.lr_scheduler.LambdaLR, {"lr_lambda": LinearDecay(4 * steps)}),
            num_steps=16,
            num_mini_batch=2,
            update_repeats=2,
            max_grad_norm=0.5,
            gamma=0.99,
            use_gae=True,
            gae_lambda=0.95,
            advance_scene_rollout_period=5 if kind == "scenes" else None,
            save_interval=200,
            metric_accumulate_interval=200,
        ),
    )
