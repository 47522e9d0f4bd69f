"""Groups of environments, however they are stepped."""

from .build import build_environments
from .environments import Environments, Episode, EpisodeEnd, Failure, Row
from .spaces import action_layout, allocate, is_same_space, observation_layout, to_environment, writer

__all__ = [
    "Environments",
    "Episode",
    "EpisodeEnd",
    "Failure",
    "Row",
    "action_layout",
    "allocate",
    "build_environments",
    "is_same_space",
    "observation_layout",
    "to_environment",
    "writer",
]
