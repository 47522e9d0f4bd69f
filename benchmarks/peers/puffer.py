"""PufferLib's PuffeRL on a workload: prints {"steps", "seconds"} of its steady state as JSON, after its dashboard.

usage: puffer.py WORKLOAD STEPS SEED. Serial vectorization is its fastest on two cores. As it is built, this is not
textbook PPO: a minibatch is whole segments of one environment each (of 64 steps in HalfCheetah's minibatches of 64),
drawn with replacement; advantages are computed anew for each minibatch, with V-trace's clipped ratios; rewards are
clamped to ±1; nothing bootstraps a truncated episode or a segment's end. Memory is its LSTM: it has no GRU.
HalfCheetah is version 4, as gymnasium 0.29 has no other: the same physics.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import gymnasium
import networks
import numpy as np
import pufferlib
import pufferlib.emulation
import pufferlib.models
import pufferlib.pufferl
import pufferlib.vector
import torch
import workloads
from torch import nn

FOLDER = tempfile.TemporaryDirectory()
PICTURES = Path("resources")  # a link that it leaves in the working directory when it is imported


class Heads(nn.Module):
    """Features (B, size) → logits (B, n) or a normal distribution, and values (B, 1)."""

    def __init__(self, policy: nn.Module, value: nn.Module, continuous: int) -> None:
        super().__init__()
        self.policy, self.value = policy, value
        self.log_std = nn.Parameter(torch.zeros(1, continuous)) if continuous else None

    def forward(self, features):
        found = self.policy(features)
        if self.log_std is not None:
            found = torch.distributions.Normal(found, self.log_std.exp().expand_as(found))
        return found, self.value(features)


class Policy(nn.Module):
    """What it calls a policy: `encode_observations` comes before the memory, `decode_actions` after it."""

    def __init__(self, trunk: nn.Module, heads: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.trunk, self.heads, self.hidden_size = trunk, heads, hidden_size
        self.is_continuous = heads.log_std is not None

    def encode_observations(self, observations, state=None):
        return self.trunk(observations)

    def decode_actions(self, features):
        return self.heads(features)

    def forward(self, observations, state=None):
        return self.heads(self.trunk(observations))

    forward_eval = forward


def layers(*sizes: int) -> nn.Sequential:
    """Linear layers, tanh between them."""
    parts = [part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.Tanh())]
    return nn.Sequential(*parts[:-1])


def policy_of(work: workloads.Workload, env) -> nn.Module:
    space, continuous = env.single_action_space, isinstance(env.single_action_space, gymnasium.spaces.Box)
    actions = space.shape[0] if continuous else int(space.n)
    trunk, size = nn.Sequential(nn.Flatten(), Floats()), int(np.prod(env.single_observation_space.shape))
    hidden: tuple[int, ...] = (64, 64)
    if work.network == "grid":
        trunk, size, hidden = networks.GridTrunk(), networks.GridTrunk.size, (64,)
    features = work.memory or size
    heads = Heads(layers(features, *hidden, actions), layers(features, *hidden, 1), actions if continuous else 0)
    policy = Policy(trunk, heads, features)
    return pufferlib.models.LSTMWrapper(env, policy, size, work.memory) if work.memory else policy


class Floats(nn.Module):
    def forward(self, vectors):
        return vectors.float()


def environment(work: workloads.Workload, buf=None, seed: int = 0):
    if work.environment == "halfcheetah":
        env = pufferlib.ClipAction(gymnasium.make("HalfCheetah-v4"))
    else:
        env = workloads.make_environment(work.environment)
    return pufferlib.emulation.GymnasiumPufferEnv(pufferlib.EpisodeStats(env), buf=buf, seed=seed)


def settings(work: workloads.Workload, steps: int, seed: int) -> dict:
    """Its defaults, but for what the workload says."""
    horizon = min(work.num_steps, work.minibatch)
    return {
        **pufferlib.pufferl.load_config("default")["train"],
        **{"env": "bench", "device": "cpu", "seed": seed, "data_dir": FOLDER.name, "total_timesteps": steps},
        **{"batch_size": work.rollout, "minibatch_size": work.minibatch, "max_minibatch_size": work.minibatch},
        **{"bptt_horizon": horizon, "update_epochs": work.epochs, "use_rnn": bool(work.memory), "compile": False},
        **{"optimizer": "adam", "learning_rate": work.learning_rate, "anneal_lr": False, "adam_eps": 1e-5},
        **{"adam_beta1": 0.9, "adam_beta2": 0.999, "clip_coef": work.clip_range, "vf_clip_coef": 1000.0},
        **{"gamma": workloads.GAMMA, "gae_lambda": workloads.GAE_LAMBDA, "ent_coef": work.entropy_coefficient},
        **{"vf_coef": workloads.VALUE_COEFFICIENT, "max_grad_norm": workloads.MAX_GRAD_NORM},
        **{"prio_alpha": 0.0, "prio_beta0": 1.0, "precision": "float32", "torch_deterministic": True},
    }


def main(name: str, steps: int, seed: int) -> None:
    work = workloads.WORKLOADS[name]
    if PICTURES.is_symlink():
        PICTURES.unlink()
    sys.argv = sys.argv[:1]  # its configuration reads the command line
    torch.set_num_threads(work.threads)
    torch.manual_seed(seed)
    env = pufferlib.vector.make(
        environment, env_args=[work], num_envs=work.num_envs, backend=pufferlib.vector.Serial, seed=seed
    )
    marks = []
    trainer = pufferlib.pufferl.PuffeRL(settings(work, steps, seed), env, policy_of(work, env))
    while trainer.global_step < steps:
        marks.append((time.perf_counter(), trainer.global_step))
        trainer.evaluate()
        trainer.train()
    marks.append((time.perf_counter(), trainer.global_step))
    trainer.close()
    (first, before), (last, after) = marks[work.warm], marks[-1]
    print(json.dumps({"steps": after - before, "seconds": last - first}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
