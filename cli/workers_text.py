"""What each worker gets of an experiment, in lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..core.engine.workers.dealing import Share


def workers_lines(shares: Sequence[Share]) -> list[str]:
    """The whole and the parts of environments and batches, and a line for each worker."""
    lines = [f"workers      {len(shares)}, environments {_parts(len(share.environments) for share in shares)}"]
    for batches in zip(*(share.batches for share in shares), strict=True):
        rollout, minibatch = _parts(one.rollout for one in batches), _parts(one.minibatch for one in batches)
        lines.append(f"batch        {batches[0].stage}: rollout {rollout} steps, minibatch {minibatch}")
    return [*lines, *(_worker(share) for share in shares)]


def _parts(counts: Iterable[int]) -> str:
    """Of 4, 4 and 3: 11 = 2 × 4 + 1 × 3."""
    found = Counter(counts)
    total = sum(count * times for count, times in found.items())
    return f"{total:,} = {' + '.join(f'{times} × {count:,}' for count, times in found.items())}"


def _worker(share: Share) -> str:
    first, last = share.environments[0], share.environments[-1]
    seeds = " ".join(str(seed) for seed in share.seeds)
    return f"worker {share.worker:<5} environments {first} to {last}, their first episodes' seeds {seeds}"
