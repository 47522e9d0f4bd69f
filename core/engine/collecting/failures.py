"""FailureBudget: how many failures of environments a training survives, and what is kept of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ...errors import EnvironmentFailure
from ..environments import Failure

SPARE = 10
"""Failures that are survived in any case; beyond them, one for each hundred steps."""


class FailureBudget:
    """Counts failures of this worker's environments.

    * record: keeps one, e.g. in the run directory. * warn: told in words.
    """

    def __init__(self) -> None:
        self.total = 0
        self.record: Callable[[Failure], object] = lambda failure: None
        self.warn: Callable[[str], None] = lambda text: None

    def note(self, failures: Iterable[Failure], steps: int) -> None:
        """These failures have happened; `steps`: steps of the run so far.

        Raises EnvironmentFailure if that is more than is survived.
        """
        for failure in failures:
            self.total += 1
            self.record(failure)
            self.warn(f"environment {failure.environment} failed and was replaced: {failure.what}")
            if self.total > SPARE + steps // 100:
                raise EnvironmentFailure(
                    f"environments have failed {self.total} times in {steps:,} steps, which is too often",
                    f"the last: environment {failure.environment}, episode {failure.episode} (seed {failure.seed}), "
                    f"after the actions {failure.actions[-5:].tolist()}: {failure.what}",
                )

    def state_dict(self) -> dict[str, Any]:
        """The count."""
        return {"total": self.total}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Count on from there."""
        self.total = state["total"]
