"""Values that change with the steps: learning rates, teacher forcing.

A schedule is a pure function of the step it is asked for. It remembers nothing, so an earlier step asked after a
later one gives the earlier value, and a resumed run gets what an unbroken one would have got.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .errors import Fault, refuse, where


class _Schedule:
    """Gives a schedule an empty `__dict__` beside its slots.

    `LambdaLR` saves and overwrites the `__dict__` of the function it is given. Without one it fails; with the fields in
    it, its checkpoint holds objects of ours, which `torch.load(weights_only=True)` refuses, and loading it changes a
    schedule that says it is frozen. So the fields lie in slots and the `__dict__` stays empty.
    """


@dataclass(frozen=True, slots=True)
class LinearDecay(_Schedule):
    """A value that goes linearly from `startp` to `endp` over `steps` steps, and stays there.

    `LinearDecay(100, 1.0, 0.0)(25)` is 0.75. Below 0 the value is `startp`, from `steps` on it is `endp`. With
    `steps=0` it is `endp` at once; `startp=endp` gives exactly that constant.

    * steps: over how many steps the value changes, ≥ 0.
    * startp: the value at step 0.
    * endp: the value at step `steps` and after it. It may be the greater one.

    Refused with `ExperimentError`: negative or fractional steps, and ends that are not finite numbers.
    """

    steps: int
    startp: float = 1.0
    endp: float = 0.0

    def __post_init__(self) -> None:
        refuse(self._faults())

    def __call__(self, epoch: int) -> float:
        """The value after `epoch` steps."""
        epoch = max(epoch, 0)
        if epoch >= self.steps:
            return self.endp
        return self.startp + (self.endp - self.startp) * epoch / self.steps

    def _faults(self) -> Iterator[Fault]:
        if not hasattr(self.steps, "__index__"):
            hint = f"Write int({self.steps!r})." if isinstance(self.steps, float) else ""
            yield Fault(f"steps of a LinearDecay must be an integer; found {self.steps!r}.", where(), hint)
        elif self.steps < 0:
            yield Fault(f"steps of a LinearDecay must be 0 or more; found {self.steps!r}.", where())
        for name, value in (("startp", self.startp), ("endp", self.endp)):
            if not _is_finite(value):
                yield Fault(f"{name} of a LinearDecay must be a finite number; found {value!r}.", where())


@dataclass(frozen=True, slots=True)
class MultiLinearDecay(_Schedule):
    """Several `LinearDecay`s, one after the other.

    Each one is asked with the steps since it began. Where one ends and the next begins, the next one's `startp` counts;
    after the last one its `endp` stays. A decay over 0 steps takes no room between others.

    * stages: the decays in their order, at least one. Kept as a tuple.

    Refused with `ExperimentError`: no stages, and stages of another kind.
    """

    stages: Sequence[LinearDecay]

    def __post_init__(self) -> None:
        if isinstance(self.stages, Sequence):
            object.__setattr__(self, "stages", tuple(self.stages))
        refuse(self._faults())

    @property
    def steps(self) -> int:
        """Over how many steps the value changes: the steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    def __call__(self, epoch: int) -> float:
        """The value after `epoch` steps."""
        epoch = max(epoch, 0)
        for stage in self.stages:
            if epoch < stage.steps:
                return stage(epoch)
            epoch -= stage.steps
        return self.stages[-1].endp

    def _faults(self) -> Iterator[Fault]:
        if not isinstance(self.stages, tuple) or not self.stages:
            found = f"stages of a MultiLinearDecay must be a list of LinearDecay; found {self.stages!r}."
            yield Fault(found, where(), "Give it at least one: MultiLinearDecay([LinearDecay(steps=10_000)]).")
            return
        for position, stage in enumerate(self.stages):
            if not isinstance(stage, LinearDecay):
                yield Fault(
                    f"stages[{position}] of a MultiLinearDecay must be a LinearDecay; found {stage!r}.", where()
                )


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
