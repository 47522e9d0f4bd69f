"""AllenAct on a workload, W6 or W7: prints {"steps", "seconds"} of its steady state as JSON, at the end of its log.

usage: allen.py WORKLOAD STEPS SEED. Its runner is called as its command would. The environments, and in W7 the encoder
and the bot, are ours; the recurrent network and everything else are its own. The numbers of processes and threads are
its fastest on two cores. Its expert is a sensor, and so asked in both stages of W7.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["SDL_AUDIODRIVER"] = "dummy"  # its pictures need pygame, which looks for a sound card

import gym
import networks
import numpy as np
import torch
import workloads
from allenact.algorithms.onpolicy_sync.losses import PPO
from allenact.algorithms.onpolicy_sync.losses.imitation import Imitation
from allenact.algorithms.onpolicy_sync.policy import ActorCriticModel
from allenact.algorithms.onpolicy_sync.runner import OnPolicyRunner
from allenact.base_abstractions.callbacks import Callback
from allenact.base_abstractions.experiment_config import ExperimentConfig
from allenact.base_abstractions.misc import RLStepResult
from allenact.base_abstractions.sensor import ExpertActionSensor, Sensor
from allenact.base_abstractions.task import Task, TaskSampler
from allenact.embodiedai.models.basic_models import RNNActorCritic
from allenact.utils.experiment_utils import Builder, LinearDecay, PipelineStage, TrainingPipeline

FASTEST = {"W6": (2, 2), "W7": (1, 1)}  # processes and threads


class Told(Sensor):
    """A part of what the environment says; numbers become arrays (1,)."""

    def __init__(self, name: str, space) -> None:
        super().__init__(uuid=name, observation_space=gym.spaces.Box(0, 255, space.shape or (1,), np.int64))
        self.name = name

    def get_observation(self, env, task, *_, **__):
        said = task.said[self.name] if isinstance(task.said, dict) else task.said
        return np.atleast_1d(said)


class Episode(Task):
    """One episode of a gymnasium environment."""

    def __init__(self, env, sensors) -> None:
        super().__init__(env=env, sensors=sensors, task_info={}, max_steps=math.inf)
        self.said, self.over = env.reset()[0], False

    @property
    def action_space(self):
        return gym.spaces.Discrete(int(self.env.action_space.n))

    def _step(self, action) -> RLStepResult:
        self.said, reward, terminated, truncated, info = self.env.step(int(action))
        self.over = terminated or truncated
        return RLStepResult(self.get_observations(), float(reward), self.over, info)

    def query_expert(self, **_):
        advice = self.env.get_wrapper_attr("expert_action")()
        return (0, False) if advice is None else (int(advice), True)

    def reached_terminal_state(self) -> bool:
        return self.over

    def render(self, *_, **__):
        raise NotImplementedError

    def close(self) -> None:
        pass


class Episodes(TaskSampler):
    """Without end, in one environment."""

    length = math.inf
    all_observation_spaces_equal = True
    last_sampled_task = None

    def __init__(self, environment: str, sensors, seed: int) -> None:
        self.env, self.sensors = workloads.make_environment(environment), sensors
        self.set_seed(seed)

    def next_task(self, force_advance_scene: bool = False) -> Episode:
        self.last_sampled_task = Episode(self.env, self.sensors)
        return self.last_sampled_task

    def set_seed(self, seed: int) -> None:
        self.env.reset(seed=seed)

    def reset(self) -> None:
        pass

    def close(self) -> None:
        self.env.close()


class Cells(networks.CellEmbeddings):
    def forward(self, observations):
        grids = observations["image"]
        return super().forward(grids.flatten(0, 1)).view(*grids.shape[:2], -1)


class BabyAI(torch.nn.Module):
    """What experiments/babyai_dagger_then_ppo.py has before its memory."""

    size = 128

    def __init__(self, env) -> None:
        from trainctl.models import MiniGridActorCritic

        super().__init__()
        self.encoder = MiniGridActorCritic(env.observation_space, env.action_space, cell_size=16).encoder

    def forward(self, observations):
        image, mission = observations["image"].byte(), observations["mission"]
        return self.encoder({"image": image, "mission": mission, "direction": observations["direction"].squeeze(-1)})


class Network(ActorCriticModel):
    """An encoder, and AllenAct's recurrent layer with a linear policy and value."""

    def __init__(self, encoder: torch.nn.Module, actions: int, memory: int) -> None:
        features = gym.spaces.Dict({"features": gym.spaces.Box(-1.0, 1.0, (encoder.size,))})
        super().__init__(action_space=gym.spaces.Discrete(actions), observation_space=features)
        self.encoder = encoder
        self.rest = RNNActorCritic("features", self.action_space, features, hidden_size=memory)

    def _recurrent_memory_specification(self):
        return self.rest._recurrent_memory_specification()

    def forward(self, observations, memory, prev_actions, masks):
        features = {"features": self.encoder(observations)}
        return self.rest(observations=features, memory=memory, prev_actions=prev_actions, masks=masks)


class Marks(Callback):
    """When it had learned from so many steps."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, int]] = []

    def callback_sensors(self):
        return None

    def on_train_log(self, *_, step: int, **__) -> None:
        self.marks.append((time.perf_counter(), step))


MARKS = Marks()


class Experiment(ExperimentConfig):
    def __init__(self, name: str, steps: int) -> None:
        self.work, self.steps = workloads.WORKLOADS[name], steps
        env = workloads.make_environment(self.work.environment)
        self.imitates = self.work.environment == "babyai"
        self.actions = int(env.action_space.n)
        parts = env.observation_space.spaces if self.imitates else {"image": env.observation_space}
        self.sensors = [Told(name, space) for name, space in parts.items()]
        if self.imitates:
            self.sensors.append(ExpertActionSensor(self.actions))

    def tag(self) -> str:
        return "bench"

    def watch(self) -> Callback:
        return MARKS

    def machine_params(self, mode: str = "train", **_):
        return {"nprocesses": self.work.num_envs if mode == "train" else 0, "devices": []}

    def create_model(self, **_):
        env = workloads.make_environment(self.work.environment)
        return Network(BabyAI(env) if self.imitates else Cells(), self.actions, self.work.memory)

    def make_sampler_fn(self, mp_ctx=None, **arguments):
        return Episodes(**arguments)

    def train_task_sampler_args(self, process_ind: int, total_processes: int, seeds=None, **_):
        return {"environment": self.work.environment, "sensors": self.sensors, "seed": seeds[process_ind]}

    def training_pipeline(self, **_) -> TrainingPipeline:
        work, half = self.work, self.steps // 2
        ppo = {"clip_param": work.clip_range, "value_loss_coef": workloads.VALUE_COEFFICIENT}
        ppo["entropy_coef"] = work.entropy_coefficient
        stages = [PipelineStage(loss_names=["ppo"], max_stage_steps=self.steps)]
        if self.imitates:
            forcing = LinearDecay(half, startp=1.0, endp=0.0)
            dagger = PipelineStage(loss_names=["imitation"], max_stage_steps=half, teacher_forcing=forcing)
            stages = [dagger, PipelineStage(loss_names=["ppo"], max_stage_steps=half)]
            ppo["clip_decay"] = LinearDecay(half)
        return TrainingPipeline(
            named_losses={"ppo": PPO(**ppo), "imitation": Imitation()},
            pipeline_stages=stages,
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 1e-3 if self.imitates else work.learning_rate}),
            num_steps=work.num_steps,
            num_mini_batch=work.minibatches,
            update_repeats=work.epochs,
            gamma=workloads.GAMMA,
            use_gae=True,
            gae_lambda=0.99 if self.imitates else workloads.GAE_LAMBDA,
            max_grad_norm=workloads.MAX_GRAD_NORM,
            advance_scene_rollout_period=None,
            save_interval=None,
            metric_accumulate_interval=work.rollout * (work.warm if self.imitates else 1),
        )


def steady(marks: list[tuple[float, int]], began: int, ended: int, warm: int) -> tuple[int, float]:
    """Steps and seconds of a stage after its first `warm` steps."""
    (first, before), *_, (last, after) = [mark for mark in marks if began + warm <= mark[1] <= ended]
    return after - before, last - first


def main(name: str, steps: int, seed: int) -> None:
    work = workloads.WORKLOADS[name]
    processes, threads = FASTEST[name]
    os.environ |= {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "ACTIVE"}  # for the processes that it starts
    with tempfile.TemporaryDirectory() as folder:
        runner = OnPolicyRunner(
            Experiment(name, steps), folder, None, seed, disable_config_saving=True, callbacks_paths="watch"
        )
        runner.start_train(max_sampler_processes_per_worker=processes)
    stages = [(0, steps // 2), (steps // 2, steps)] if work.environment == "babyai" else [(0, steps)]
    counted = [steady(MARKS.marks, began, ended, work.warm * work.rollout) for began, ended in stages]
    found = {"steps": sum(steps for steps, _ in counted), "seconds": sum(seconds for _, seconds in counted)}
    print(json.dumps(found), file=sys.__stdout__)  # it has made stdout its log


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
