"""`--json`: exactly one document on stdout, and everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any


@contextlib.contextmanager
def standard_output(reserved: bool) -> Iterator[None]:
    """Within this context nothing reaches stdout if it is reserved for a document.

    What is printed goes to stderr instead, what C libraries and child processes write as well.
    """
    if not reserved:
        yield
        return
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stdout.flush()
        os.dup2(real, 1)
        os.close(real)


def print_document(document: Any) -> None:
    """Print the document that a program reads. JSON has no numbers that are not finite: null, as in metrics.jsonl."""
    print(json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False), flush=True)


def _finite(document: Any) -> Any:
    if isinstance(document, Mapping):
        return {name: _finite(value) for name, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [_finite(value) for value in document]
    return None if isinstance(document, float) and not math.isfinite(document) else document
