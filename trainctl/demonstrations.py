"""Demonstrations of Minari datasets, for off-policy losses."""

from __future__ import annotations

from .core.demonstrations import DemonstrationBatch, MinariSequences, share_of_worker

__all__ = ["DemonstrationBatch", "MinariSequences", "share_of_worker"]
