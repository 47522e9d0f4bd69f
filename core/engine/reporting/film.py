"""Frames of an episode, with what the policy thought written below, as a GIF or an MP4."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ...errors import UsageError

SMALLEST_WIDTH = 240
BAND = 16  # pixels for a line of text
SHORTEST_FRAME = 20  # milliseconds: browsers slow down what is faster


def framed(image: np.ndarray, lines: Sequence[str], small: bool = False) -> Image.Image:
    """An image (H, W, 3) uint8, enlarged by a whole factor until text fits, with lines of text below it.

    small: made smaller by a whole factor, as long as text fits.
    """
    factor = max(1, -(-SMALLEST_WIDTH // image.shape[1]))
    picture = Image.fromarray(np.ascontiguousarray(image)).resize(
        (image.shape[1] * factor, image.shape[0] * factor), Image.Resampling.NEAREST
    )
    if small:
        picture = picture.reduce(max(1, picture.width // SMALLEST_WIDTH))
    # even sizes: most players refuse an MP4 of any other
    canvas = Image.new("RGB", (picture.width + picture.width % 2, 2 * (-(-(picture.height + BAND * len(lines)) // 2))))
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        draw.text((4, picture.height + BAND * number + 2), line, fill="white")
    return canvas


def make_folder(folder: Path) -> None:
    """Make a folder for films, if it is not there. Raises `UsageError` if nothing can be written in it."""
    with _written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def write_film(path: Path, frames: Sequence[Image.Image], frames_per_second: float) -> None:
    """Write frames, at least one, as what the file's name says: .gif or .mp4 (which needs the extra `video`).

    Raises `UsageError` if the file cannot be written.
    """
    with _written(path):
        if path.suffix == ".mp4":
            _write_mp4(path, frames, frames_per_second)
        else:
            path.write_bytes(gif(frames, frames_per_second))


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{path} cannot be written: {reason}", "choose another place with --output") from error


def gif(frames: Sequence[Image.Image], frames_per_second: float) -> bytes:
    """Frames, at least one, as an animated GIF that begins again when it is over."""
    buffer, duration = io.BytesIO(), max(SHORTEST_FRAME, round(1000 / frames_per_second))
    # an eighth of the time that Pillow takes for the colours if it is left alone
    first, *others = [frame.quantize(method=Image.Quantize.FASTOCTREE) for frame in frames]
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=duration, loop=0)
    return buffer.getvalue()


def need(suffix: str) -> None:
    """Raise `UsageError` if films of this kind cannot be written here."""
    if suffix == ".mp4":
        try:
            import av  # noqa: F401
        except ImportError as error:
            hint = "pip install 'trainctl[video]', or write --format gif"
            raise UsageError("an MP4 needs PyAV, which is not installed", hint) from error


def _write_mp4(path: Path, frames: Sequence[Image.Image], frames_per_second: float) -> None:
    import av

    with av.open(str(path), "w") as container:
        try:
            stream = container.add_stream("libx264", rate=round(frames_per_second))
        except ValueError as error:  # PyAV's own wheels have it
            hint = "pip install --force-reinstall av, or write --format gif"
            raise UsageError("this PyAV was built without an encoder for MP4", hint) from error
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
