from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from tests.demonstrations import NAME, datasets, record
from tests.toys import CountingEnv, ExpertEnv, MeasuringEnv
from trainctl import (
    Builder,
    EarlyStoppingCriterion,
    Experiment,
    ExperimentError,
    OffPolicyPipelineComponent,
    PipelineStage,
    TrainingPipeline,
)
from trainctl.core.engine.trainer import Trainer
from trainctl.core.engine.workers.workers import SingleWorker
from trainctl.demonstrations import MinariSequences
from trainctl.losses import PPO, BehaviorCloning, Imitation, LossOutput, OffPolicyLossOutput
from trainctl.models import MLPActorCritic

__all__ = ["datasets"]  # a fixture


def trainer(*stages: PipelineStage, environment: Any = CountingEnv, **losses: Any) -> Trainer:
    named = {"ppo": Builder(PPO), "imitation": Builder(Imitation), "cloning": Builder(BehaviorCloning), **losses}
    pipeline = TrainingPipeline(
        named_losses=named,
        pipeline_stages=stages,
        optimizer_builder=Builder(torch.optim.SGD, {"lr": 0.01}),
        num_mini_batch=1,
        update_repeats=1,
        max_grad_norm=None,
        num_steps=8,
        gamma=0.9,
        use_gae=True,
        gae_lambda=0.9,
        advance_scene_rollout_period=None,
        save_interval=None,
        metric_accumulate_interval=16,
    )
    model = Builder(MLPActorCritic, {"hidden_sizes": (4,)})
    experiment = Experiment(environment=environment, num_envs=2, model=model, pipeline=pipeline)
    return Trainer(experiment, 0, torch.device("cpu"), SingleWorker())


def first() -> PipelineStage:
    return PipelineStage(["ppo"], max_stage_steps=16, name="first")


def component(builder: Any, *losses: str) -> OffPolicyPipelineComponent:
    return OffPolicyPipelineComponent(builder, losses or ["cloning"], updates=1)


def demonstrated(observations: Tensor) -> Iterator[Any]:
    shape = observations.shape[:2]
    ones = torch.ones(shape)
    actions = torch.zeros(shape, dtype=torch.int64)
    while True:
        yield {"observations": observations, "actions": actions, "masks": ones, "valid": ones.bool()}


def refused(trainer: Trainer, match: str) -> None:
    """It is refused with this message, before the first step."""
    with pytest.raises(ExperimentError, match=match):
        trainer.build()


def fails(trainer: Trainer, match: str) -> None:
    """It is known only while training, and then said with this message."""
    trainer.build()
    with pytest.raises(ExperimentError, match=match):
        trainer.train()


# Before the training


@pytest.mark.parametrize(
    ("stage", "part"),
    [
        (lambda: PipelineStage(["ppo"], 16, teacher_forcing=lambda steps: 1.0, name="second"), "teacher_forcing"),
        (lambda: PipelineStage(["ppo", "imitation"], 16, name="second"), "the loss 'imitation'"),
    ],
)
def test_whoever_needs_a_missing_expert_is_named(stage: Any, part: str) -> None:
    refused(trainer(first(), stage()), rf"stage 'second': {part} needs the expert[\s\S]*no expert_action\(\)")
    trainer(first(), stage(), environment=ExpertEnv).build()


def test_the_expert_may_come_and_go_with_the_environments() -> None:
    def imitation(name: str, environment: Any) -> PipelineStage:
        return PipelineStage(["imitation"], 16, environment=environment, name=name)

    refused(trainer(imitation("a", ExpertEnv), imitation("b", CountingEnv)), "stage 'b': the loss 'imitation' needs")
    trainer(first(), imitation("a", ExpertEnv), imitation("b", None)).build()


def test_environments_of_other_spaces_are_refused() -> None:
    class Wider(CountingEnv):
        def __init__(self) -> None:
            super().__init__()
            self.action_space = spaces.Discrete(4)

    stage = PipelineStage(["ppo"], 16, environment=Wider, name="wider")
    refused(trainer(first(), stage), r"stage 'wider': .* action_space Discrete\(4\), those before had Discrete\(3\)")


def test_environments_that_cannot_be_built_are_refused() -> None:
    stage = PipelineStage(["ppo"], 16, environment=lambda: gymnasium.make("Nowhere-v0"), name="nowhere")
    refused(trainer(first(), stage), r"stage 'nowhere': .*cannot be built")


def test_all_faults_of_all_stages_are_listed_at_once() -> None:
    stages = [
        PipelineStage(["ppo"], 16, teacher_forcing=lambda steps: 1.0, name="a"),
        PipelineStage(["imitation"], 16, name="b"),
    ]
    with pytest.raises(ExperimentError) as caught:
        trainer(*stages).build()
    assert [fault.message.split(":")[0] for fault in caught.value.faults] == ["stage 'a'", "stage 'b'"]


@pytest.mark.parametrize("empty", [lambda: iter(()), lambda: []])
def test_data_that_give_no_batch_are_refused(empty: Any) -> None:
    stage = PipelineStage(["ppo"], 16, offpolicy_component=component(empty), name="mixed")
    refused(trainer(first(), stage), "stage 'mixed': the data iterator of offpolicy_component is empty")


def test_a_builder_that_cannot_be_called_is_named() -> None:
    stage = PipelineStage(["ppo"], 16, offpolicy_component=component(lambda seed: iter([seed])), name="mixed")
    refused(trainer(first(), stage), r"stage 'mixed': the data_iterator_builder[\s\S]*missing 1 required positional")


def test_data_of_other_spaces_are_refused(datasets: Any) -> None:
    class Wider(ExpertEnv):
        def __init__(self) -> None:
            super().__init__()
            self.action_space = spaces.Discrete(4)

    record(Wider)
    stage = PipelineStage(["ppo"], 16, offpolicy_component=component(Builder(MinariSequences, {"dataset": NAME})))
    refused(trainer(stage), r"another action_space[\s\S]*Discrete\(4\) \(data\), Discrete\(3\) \(environment\)")


def test_a_dataset_that_is_not_there_is_refused(datasets: Any) -> None:
    stage = PipelineStage(["ppo"], 16, offpolicy_component=component(Builder(MinariSequences, {"dataset": NAME})))
    refused(trainer(first(), stage), r"stage 'ppo\+cloning': there is no Minari dataset 'toys/counting-v0'")


def test_checking_the_data_draws_no_random_numbers() -> None:
    def weights(stage: PipelineStage) -> Tensor:
        built = trainer(stage)
        built.build()
        return torch.cat([torch.rand(1), *(parameter.flatten() for parameter in built.model.parameters())])

    def drawing() -> Iterator[Any]:
        return demonstrated(torch.rand(1, 1, 1))

    plain, checked = first(), PipelineStage(["ppo"], 16, offpolicy_component=component(drawing))
    assert torch.equal(weights(plain), weights(checked))


# While training


@pytest.mark.parametrize("action", [3, 1.5, "left"])
def test_an_expert_that_does_what_is_not_possible_is_named(action: Any) -> None:
    stage = PipelineStage(["imitation"], 16, name="second")
    environment = Builder(ExpertEnv, {"expert": lambda steps: action})
    fails(trainer(first(), stage, environment=environment), r"stage 'second': expert_action\(\).* outside the action")


def test_a_criterion_that_raises_is_named() -> None:
    class Broken(EarlyStoppingCriterion):
        def __call__(self, stage_steps: int, total_steps: int, training_metrics: Any) -> bool:
            raise KeyError("episode/sucess")

    stage = PipelineStage(["ppo"], 16, early_stopping_criterion=Broken(), name="second")
    match = r"stage 'second': the early-stopping criterion .* raised KeyError: 'episode/sucess'"
    fails(trainer(first(), stage, environment=MeasuringEnv), match)


def test_losses_without_a_graph_are_named() -> None:
    def detached(batch: Any, output: Any) -> LossOutput:
        return LossOutput(output.values.mean().detach(), {})

    def off_policy(model: nn.Module, batch: Any, memory: Any, stage_steps: int) -> OffPolicyLossOutput:
        return OffPolicyLossOutput(torch.zeros(()), {}, None, 1)

    fails(trainer(PipelineStage(["own"], 16, name="on"), own=detached), "stage 'on': .*the loss 'own' has no graph")
    stage = PipelineStage(
        [], 16, offpolicy_component=component(lambda: demonstrated(torch.zeros(1, 1, 1)), "own"), name="off"
    )
    fails(trainer(stage, own=off_policy), "stage 'off': the off-policy loss 'own' returned")


def test_a_stage_may_learn_from_other_data_alone() -> None:
    shown = torch.zeros(4, 3, 1)
    stage = PipelineStage([], 48, offpolicy_component=component(lambda: demonstrated(shown)), name="offline")
    built = trainer(stage)
    built.build()
    before = built.model(shown, None, torch.ones(4, 3)).distribution.log_prob(torch.zeros(4, 3, dtype=torch.int64))
    assert built.train()
    after = built.model(shown, None, torch.ones(4, 3)).distribution.log_prob(torch.zeros(4, 3, dtype=torch.int64))
    assert (after > before).all()
    assert built.progress.total_steps == 48
