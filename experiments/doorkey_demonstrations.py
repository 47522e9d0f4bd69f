"""MiniGrid's DoorKey-8x8 with PPO and demonstrations mixed in (`pip install trainctl[minigrid,demos]`).

    trainctl record-demonstrations experiments/doorkey_demonstrations.py --episodes 500 --output doorkey/expert-v0
    trainctl run experiments/doorkey_demonstrations.py

The reward comes only at the goal, behind a locked door whose key must be found first: PPO alone searches long. After
each of its updates, `updates` optimizer steps of behaviour cloning are made. With --set updates=0 it is PPO alone.
"""

from collections import deque
from typing import Any

import gymnasium
import minigrid
import torch
from minigrid.core.actions import Actions

from trainctl import Builder, Experiment, OffPolicyPipelineComponent, PipelineStage, TrainingPipeline
from trainctl.demonstrations import MinariSequences, share_of_worker
from trainctl.losses import PPO, BehaviorCloning
from trainctl.models import MiniGridActorCritic
from trainctl.wrappers import SuccessMetric, TokenizedMission

DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1))


class DoorKeyExpert(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Knows the whole room and takes the shortest way: to the key, to the door, to the goal."""

    def expert_action(self) -> int | None:
        """The next action on the way, or None where there is no way."""
        room: Any = self.env.unwrapped
        things = {cell.type: (i % room.width, i // room.width) for i, cell in enumerate(room.grid.grid) if cell}
        door = room.grid.get(*things["door"])
        if door.is_locked and not room.carrying:
            return self._towards(things.get("key"), Actions.pickup)
        if not door.is_open:
            return self._towards(things["door"], Actions.toggle)
        return self._towards(things["goal"], Actions.forward)

    def _towards(self, target: tuple[int, int] | None, action: Actions) -> int | None:
        """The first action on the shortest way (breadth first) to where the target is in front; there, `action`."""
        room: Any = self.env.unwrapped
        start = (int(room.agent_pos[0]), int(room.agent_pos[1]), int(room.agent_dir))
        ways: deque[tuple[tuple[int, int, int], Actions | None]] = deque([(start, None)])
        seen = {start}
        while ways:
            (x, y, direction), first = ways.popleft()
            ahead = (x + DIRECTIONS[direction][0], y + DIRECTIONS[direction][1])
            if ahead == target:
                return int(action if first is None else first)
            steps = {Actions.left: (x, y, (direction - 1) % 4), Actions.right: (x, y, (direction + 1) % 4)}
            cell = room.grid.get(*ahead)
            if cell is None or cell.can_overlap():
                steps[Actions.forward] = (*ahead, direction)
            for step, there in steps.items():
                if there not in seen:
                    seen.add(there)
                    ways.append((there, step if first is None else first))
        return None


def doorkey(size: int) -> gymnasium.Env[Any, Any]:
    """A room of size x size cells with a locked door in the middle, and an expert."""
    gymnasium.register_envs(minigrid)
    env = gymnasium.make(f"MiniGrid-DoorKey-{size}x{size}-v0", disable_env_checker=True)
    return SuccessMetric(TokenizedMission(DoorKeyExpert(env)))


def demonstrations(dataset: str, updates: int) -> OffPolicyPipelineComponent | None:
    """Behaviour cloning of sequences from a Minari dataset; nothing where there are no updates."""
    if not updates:
        return None
    return OffPolicyPipelineComponent(
        data_iterator_builder=Builder(MinariSequences, {"dataset": dataset, "num_steps": 16, "num_sequences": 16}),
        data_iterator_kwargs_generator=share_of_worker,
        loss_names=["cloning"],
        updates=updates,
    )


def experiment(
    size: int = 8,
    steps: int = 400_000,
    updates: int = 2,
    dataset: str = "doorkey/expert-v0",
    learning_rate: float = 1e-3,
) -> Experiment:
    """PPO as in doorkey_curriculum.py, and the demonstrations beside it."""
    return Experiment(
        environment=Builder(doorkey, {"size": size}),
        num_envs=16,
        model=Builder(MiniGridActorCritic, {"cell_size": 16}),
        pipeline=TrainingPipeline(
            named_losses={
                "ppo": Builder(PPO, {"clip_range": 0.2, "entropy_coefficient": 0.01}),
                "cloning": Builder(BehaviorCloning),
            },
            pipeline_stages=[
                PipelineStage(["ppo"], max_stage_steps=steps, offpolicy_component=demonstrations(dataset, updates))
            ],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": learning_rate}),
            num_steps=64,
            num_mini_batch=4,
            update_repeats=4,
            gamma=0.99,
            use_gae=True,
            gae_lambda=0.95,
            max_grad_norm=0.5,
            grad_norm_type=2,
            advance_scene_rollout_period=None,
            save_interval=100_000,
            metric_accumulate_interval=10_000,
        ),
    )
