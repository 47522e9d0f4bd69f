"""Sample Factory on a workload: prints {"steps", "seconds"} of its steady state as JSON.

usage: sf.py WORKLOAD STEPS SEED. Asynchronous, its default and fastest mode: the policy that acts is older than the one
that learns, so this is not PPO on fresh data. HalfCheetah (W4) never trains here: all of its data is called invalid.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import gymnasium
import networks
import numpy as np
import workloads
from sample_factory.algo.runners.runner import AlgoObserver
from sample_factory.algo.utils.context import global_model_factory
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.model.encoder import Encoder
from sample_factory.train import make_runner

WORKERS = 2


class ChannelsFirst(gymnasium.ObservationWrapper):
    """What it requires of images."""

    def __init__(self, env) -> None:
        super().__init__(env)
        self.observation_space = gymnasium.spaces.Box(0, 255, (3, 7, 7), np.uint8)

    def observation(self, grid):
        return np.ascontiguousarray(grid.transpose(2, 0, 1))


class OneArray(gymnasium.ObservationWrapper):
    """The frames that gymnasium 0.29 stacks lazily."""

    def observation(self, frames):
        return np.asarray(frames)


def environment(work: workloads.Workload, *_, **__):
    if work.environment != "pong":
        env = workloads.make_environment(work.environment)
        return ChannelsFirst(env) if work.network == "grid" else env
    options = {"game": "pong", "obs_type": "rgb", "frameskip": 1, "repeat_action_probability": 0.0}
    if "Pong-v5" not in gymnasium.registry:  # ale-py registers its games with newer versions of gymnasium only
        gymnasium.register("Pong-v5", entry_point="ale_py.env:AtariEnv", kwargs=options)
    env = gymnasium.wrappers.AtariPreprocessing(gymnasium.make("Pong-v5"), noop_max=30, frame_skip=4, screen_size=84)
    return OneArray(gymnasium.wrappers.FrameStack(env, 4))


class GridEncoder(Encoder):
    def __init__(self, config, space) -> None:
        super().__init__(config)
        self.trunk = networks.GridTrunk()

    def forward(self, observations):
        return self.trunk(observations["obs"])

    def get_out_size(self) -> int:
        return networks.GridTrunk.size


class Marks(AlgoObserver):
    """When it had learned from so many steps."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, int]] = []

    def on_training_step(self, runner, iteration) -> None:
        steps = runner.env_steps.get(0, 0)
        if not self.marks or steps > self.marks[-1][1]:
            self.marks.append((time.perf_counter(), steps))


def network_options(work: workloads.Workload) -> list[str]:
    if work.network == "mlp":
        return ["--use_rnn=False", "--encoder_mlp_layers", "64", "64", "--actor_critic_share_weights=False"]
    if work.memory:
        memory = ["--use_rnn=True", "--rnn_type=gru", f"--rnn_size={work.memory}", f"--recurrence={work.num_steps}"]
        return [*memory, "--decoder_mlp_layers", "64", "--shuffle_minibatches=False"]
    if work.network == "nature":
        return ["--use_rnn=False", "--encoder_conv_architecture=convnet_atari", "--nonlinearity=relu"]
    return ["--use_rnn=False", "--decoder_mlp_layers", "64"]


def main(name: str, steps: int, seed: int) -> None:
    work = workloads.WORKLOADS[name]
    register_env("bench", partial(environment, work))
    if work.network == "grid":
        global_model_factory().register_encoder_factory(GridEncoder)
    with tempfile.TemporaryDirectory() as folder:
        options = [
            *("--algo=APPO", "--env=bench", f"--experiment=b{os.getpid()}", f"--train_dir={folder}", "--device=cpu"),
            *(f"--seed={seed}", f"--num_workers={WORKERS}", f"--num_envs_per_worker={work.num_envs // WORKERS}"),
            *("--worker_num_splits=2", f"--rollout={work.num_steps}", f"--batch_size={work.minibatch}"),
            *(f"--num_batches_per_epoch={work.minibatches}", f"--num_epochs={work.epochs}", "--adam_eps=1e-5"),
            *(f"--train_for_env_steps={steps}", f"--learning_rate={work.learning_rate}", f"--gamma={workloads.GAMMA}"),
            *(f"--gae_lambda={workloads.GAE_LAMBDA}", f"--ppo_clip_ratio={work.clip_range}", "--with_vtrace=False"),
            *(f"--exploration_loss_coeff={work.entropy_coefficient}", "--ppo_clip_value=1000", "--obs_subtract_mean=0"),
            *(f"--value_loss_coeff={workloads.VALUE_COEFFICIENT}", f"--max_grad_norm={workloads.MAX_GRAD_NORM}"),
            *("--normalize_input=False", "--normalize_returns=False", "--env_frameskip=1", "--max_policy_lag=1000000"),
            *("--shuffle_minibatches=True", "--save_every_sec=100000", "--with_wandb=False", "--log_to_file=False"),
            *("--restart_behavior=overwrite", "--nonlinearity=tanh", "--actor_critic_share_weights=True"),
            f"--obs_scale={255 if work.network == 'nature' else 1}",
            *network_options(work),
        ]
        parser, _ = parse_sf_args(options)
        _, runner = make_runner(parse_full_cfg(parser, options))
        watch = Marks()
        runner.register_observer(watch)
        runner.init()
        runner.run()
    first, before = next(mark for mark in watch.marks if mark[1] >= work.warm * work.rollout)
    last, after = watch.marks[-1]
    print(json.dumps({"steps": after - before, "seconds": last - first}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
