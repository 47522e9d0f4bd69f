"""PoisonedDoors: an expert that sees more than the agent, and what becomes of those who imitate it.

Four doors. Behind one of the doors 1, 2 and 3 is +2, behind the other two -2; the expert sees which, the agent does
not. Door 0 has a lock: ten right digits in a row are worth +1, a wrong one ends the episode with 0. Who imitates the
expert guesses a door, worth -2/3 on average; who does not tries the lock, worth 0 as long as the code is unknown. This
is the imitation gap (Weihs et al. 2021, "Bridging the Imitation Gap by Adaptive Insubordination").

    trainctl run experiments/poisoned_doors.py --set method=ppo

* method: "imitation" (teacher forcing 1 -> 0), "ppo", "dagger_then_ppo", or "demonstrations_and_ppo", which needs
    trainctl record-demonstrations experiments/poisoned_doors.py --episodes 1000 --output poisoned-doors/expert-v0
"""

from typing import Any

import gymnasium
import torch
from gymnasium import spaces

from trainctl import (
    Builder,
    Experiment,
    ExperimentError,
    LinearDecay,
    OffPolicyPipelineComponent,
    PipelineStage,
    TrainingPipeline,
)
from trainctl.demonstrations import MinariSequences, share_of_worker
from trainctl.losses import PPO, BehaviorCloning, Imitation
from trainctl.models import MLPActorCritic

CODE = (2, 0, 1, 1, 2, 0, 0, 2, 1, 0)
DOORS, DIGITS = 4, 3


class PoisonedDoors(gymnasium.Env[Any, Any]):
    """Observations: 0 before the doors, 1 + n at the lock with n digits entered. Actions: four doors, three digits."""

    observation_space = spaces.Discrete(1 + len(CODE))
    action_space = spaces.Discrete(DOORS + DIGITS)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = 0
        self.good_door = int(self.np_random.integers(1, DOORS))
        return self.place, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        is_digit = action >= DOORS
        if self.place == 0 and 0 < action < DOORS:
            return self.place, 2.0 if action == self.good_door else -2.0, True, False, {}
        if self.place == 0:
            self.place = 0 if is_digit else 1
            return self.place, 0.0, False, False, {}
        if not is_digit:
            return self.place, 0.0, False, False, {}
        if action - DOORS != CODE[self.place - 1]:
            return self.place, 0.0, True, False, {}
        if self.place == len(CODE):
            return self.place, 1.0, True, False, {}
        self.place += 1
        return self.place, 0.0, False, False, {}

    def expert_action(self) -> int:
        """The good door; at the lock, where nobody sends it, the right digit."""
        return self.good_door if self.place == 0 else DOORS + CODE[self.place - 1]


def poisoned_doors() -> gymnasium.Env[Any, Any]:
    """The doors, for at most 100 steps."""
    return gymnasium.wrappers.TimeLimit(PoisonedDoors(), max_episode_steps=100)


def stages(method: str, steps: int, imitation_steps: int, dataset: str) -> list[PipelineStage]:
    """What is learned from, and when."""
    fading = LinearDecay(imitation_steps, startp=1.0, endp=0.0)
    if method == "imitation":
        return [PipelineStage(["imitation"], max_stage_steps=steps, teacher_forcing=fading)]
    if method == "ppo":
        return [PipelineStage(["ppo"], max_stage_steps=steps)]
    if method == "dagger_then_ppo":
        dagger = PipelineStage(["imitation"], max_stage_steps=imitation_steps, teacher_forcing=fading)
        return [dagger, PipelineStage(["ppo"], max_stage_steps=steps - imitation_steps)]
    if method == "demonstrations_and_ppo":
        demonstrations = OffPolicyPipelineComponent(
            data_iterator_builder=Builder(MinariSequences, {"dataset": dataset, "num_steps": 8, "num_sequences": 16}),
            data_iterator_kwargs_generator=share_of_worker,
            loss_names=["cloning"],
            updates=4,
        )
        return [PipelineStage(["ppo"], max_stage_steps=steps, offpolicy_component=demonstrations)]
    raise ExperimentError(f"there is no method {method!r}", "see the top of the file")


def experiment(
    method: str = "dagger_then_ppo",
    steps: int = 300_000,
    imitation_share: float = 0.5,
    learning_rate: float = 1e-3,
    dataset: str = "poisoned-doors/expert-v0",
) -> Experiment:
    """20 environments of 100 steps; the stages depend on the method. imitation_share: of the steps, for DAgger."""
    return Experiment(
        environment=poisoned_doors,
        num_envs=20,
        model=Builder(MLPActorCritic, {"hidden_sizes": (64,)}),
        pipeline=TrainingPipeline(
            named_losses={
                "imitation": Builder(Imitation),
                "ppo": Builder(PPO, {"clip_range": 0.1, "entropy_coefficient": 0.01}),
                "cloning": Builder(BehaviorCloning),
            },
            pipeline_stages=stages(method, steps, round(imitation_share * steps), dataset),
            optimizer_builder=Builder(torch.optim.Adam, {"lr": learning_rate}),
            num_steps=100,
            num_mini_batch=2,
            update_repeats=4,
            gamma=0.99,
            use_gae=True,
            gae_lambda=0.95,
            max_grad_norm=0.5,
            grad_norm_type=2,
            advance_scene_rollout_period=None,
            save_interval=0,
            metric_accumulate_interval=10_000,
        ),
    )
