"""`--json`: exactly one document on stdout, and everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO, cast


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


class LastingStream:
    """A text stream that leads nowhere as soon as it cannot be written: its reader or its terminal has gone, its disk
    is full. A training has better things to do than to end for that."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or do nothing; the number of characters."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Write what has been kept back, or do nothing."""
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except BlockingIOError:
            pass  # whoever reads is slow, and has made a pipe that waits for nobody
        except OSError:
            with open(os.devnull, "wb") as nowhere:  # what was kept back is tried again, at the process's end too
                os.dup2(nowhere.fileno(), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def lasting(stream: TextIO) -> TextIO:
    """The stream, as a `LastingStream`."""
    return cast("TextIO", LastingStream(stream))


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """Within this context stdout and stderr are `LastingStream`s."""
    with contextlib.redirect_stdout(lasting(sys.stdout)), contextlib.redirect_stderr(lasting(sys.stderr)):
        yield


def print_document(document: Any) -> None:
    """Print the document that a program reads. JSON has no numbers that are not finite: null, as in metrics.jsonl."""
    print(json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False), flush=True)


def _finite(document: Any) -> Any:
    if isinstance(document, Mapping):
        return {name: _finite(value) for name, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [_finite(value) for value in document]
    return None if isinstance(document, float) and not math.isfinite(document) else document
