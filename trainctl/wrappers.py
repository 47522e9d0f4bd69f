"""Wrappers that make environments fit: experts, missions as numbers, success."""

from __future__ import annotations

from .core.wrappers import MINIGRID_WORDS, BabyAIExpert, SuccessMetric, TokenizedMission

__all__ = ["MINIGRID_WORDS", "BabyAIExpert", "SuccessMetric", "TokenizedMission"]
