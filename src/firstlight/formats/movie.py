"""Movies (MP4, H.264) from pictures. ffmpeg does it: that on PATH, or that of imageio-ffmpeg."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from firstlight.errors import BadFile, InvalidInput, MissingDependency

__all__ = ["BadMovie", "encode_movie", "find_ffmpeg"]

LARGEST_SIDE = 4096  # what every H.264 decoder takes
TIMEOUT_S = 600


class BadMovie(BadFile):
    """The pictures cannot be made a movie."""

    code = "movie.bad"


def find_ffmpeg() -> str:
    """Return the path of ffmpeg.

    Raises
    ------
    MissingDependency
        Neither on PATH nor in the optional package imageio-ffmpeg.
    """
    on_path = shutil.which("ffmpeg")
    if on_path is not None:
        return on_path
    try:
        import imageio_ffmpeg  # noqa: PLC0415, an optional package
    except ImportError as fault:
        raise _missing() from fault
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as fault:  # installed without its binary
        raise _missing() from fault


def encode_movie(
    frames: Iterable[bytes | NDArray[np.uint8]], *, fps: float = 10.0, largest_side: int = 1920
) -> bytes:
    """Make an MP4 that every browser plays: H.264, yuv420p, index at its start.

    Parameters
    ----------
    frames
        In the order of the movie: JPEG or PNG files, or levels of shape ``(ny, nx)`` or
        ``(ny, nx, 3)`` with the *top* row first. Taken one at a time. The first one sets the
        size; frames of another size are fitted into it, on black.
    fps
        Frames per second.
    largest_side
        Larger frames are shrunk to this, pixels. Both sides are made even, as the format
        wants, by leaving out the last column or row.

    Returns
    -------
    bytes
        Equal frames give equal bytes with the same ffmpeg.

    Raises
    ------
    BadMovie
        There is no frame, one of them is no picture, or ffmpeg fails, with what it says.
    """
    if not 0 < fps <= 120:
        raise InvalidInput(field="fps", found=fps, expected="above 0, at most 120")
    if not 2 <= largest_side <= LARGEST_SIDE:
        raise InvalidInput(
            field="largest_side", found=largest_side, expected=f"2 to {LARGEST_SIDE}"
        )
    pictures = _sized(frames, largest_side)
    first = next(pictures, None)
    if first is None:
        raise BadMovie("There is no picture to make a movie of.")
    with tempfile.TemporaryDirectory(prefix="firstlight-") as folder:
        target, said = Path(folder) / "movie.mp4", Path(folder) / "said.txt"
        command = _command(find_ffmpeg(), target, size=first.size, fps=fps)
        _run(command, itertools.chain([first], pictures), said)
        return target.read_bytes()


def _command(
    ffmpeg: str, target: Path, *, size: tuple[int, int], fps: float
) -> list[str | os.PathLike[str]]:
    return [
        ffmpeg, "-hide_banner", "-loglevel", "error", "-y",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", f"{fps:g}",
        "-i", "-", "-an",
        "-c:v", "libx264", "-preset", "medium", "-crf", "20", "-pix_fmt", "yuv420p",
        # One thread and no clock or version in the file: equal frames make equal files.
        "-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1",
        "-movflags", "+faststart", target,
    ]  # fmt: skip


def _run(
    command: list[str | os.PathLike[str]], pictures: Iterable[Picture.Image], said: Path
) -> None:
    """Feed the pictures to ffmpeg; what it complains of goes to a file, so that it never waits."""
    with said.open("w+b") as complaints:
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=complaints)
        except OSError as fault:
            raise BadMovie(subject=command[0], found=f"{type(fault).__name__}: {fault}") from fault
        try:
            assert process.stdin is not None  # noqa: S101, it is a pipe
            # Where it ended early its exit code tells.
            with suppress(BrokenPipeError), process.stdin as pipe:
                for picture in pictures:
                    pipe.write(picture.tobytes())
            code = process.wait(TIMEOUT_S)
        except BaseException:
            process.kill()
            process.wait()
            raise
        complaints.seek(0)
        lines = complaints.read().decode(errors="replace").strip().splitlines()
    if code != 0:
        raise BadMovie(subject=command[0], found=lines[-1] if lines else f"exit code {code}")


def _sized(
    frames: Iterable[bytes | NDArray[np.uint8]], largest_side: int
) -> Iterator[Picture.Image]:
    """All frames at one even size."""
    size: tuple[int, int] | None = None
    for number, frame in enumerate(frames):
        picture = _picture(frame, number)
        if size is None:
            scale = min(1.0, largest_side / max(picture.size))
            width, height = (max(2, int(side * scale) // 2 * 2) for side in picture.size)
            size = (width, height)
        yield _fitted(picture, size)


def _fitted(picture: Picture.Image, size: tuple[int, int]) -> Picture.Image:
    width, height = picture.size
    if (width // 2 * 2, height // 2 * 2) == size:
        return picture.crop((0, 0, *size))
    scale = min(size[0] / width, size[1] / height)
    inside = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = picture.resize(inside, Picture.Resampling.BOX)
    if inside == size:
        return resized
    canvas = Picture.new("RGB", size)
    canvas.paste(resized, ((size[0] - inside[0]) // 2, (size[1] - inside[1]) // 2))
    return canvas


def _picture(frame: bytes | NDArray[Any], number: int) -> Picture.Image:
    if not isinstance(frame, bytes):
        return Picture.fromarray(np.ascontiguousarray(frame)).convert("RGB")
    try:
        with Picture.open(io.BytesIO(frame), formats=("JPEG", "PNG")) as opened:
            return opened.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as fault:
        raise BadMovie(
            subject=f"picture {number + 1}",
            found=f"{type(fault).__name__}: {fault}",
            expected="JPEG or PNG",
        ) from fault


def _missing() -> MissingDependency:
    return MissingDependency(
        "Movies need ffmpeg.",
        found="no ffmpeg on PATH and no imageio-ffmpeg",
        hint="install ffmpeg, or pip install 'firstlight[movie]'",
    )
