"""Public sample nights, fetched once and checked by their sha256."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import platformdirs
import pooch

from firstlight.errors import InvalidInput, RemoteError

__all__ = ["SAMPLES", "SampleUnreachable", "fetch_sample"]


class SampleUnreachable(RemoteError):
    """The sample could not be fetched."""

    code = "sample.unreachable"


@dataclass(frozen=True)
class Sample:
    """One public data set.

    Attributes
    ----------
    url
        Where its files are.
    listing
        Names and sha256 of its files, a resource of this package.
    about
        One sentence.
    """

    url: str
    listing: str
    about: str


SAMPLES = {
    "hat-p-32": Sample(
        "https://raw.githubusercontent.com/rzellem/EXOTIC_sampledata/"
        "e48fda38ff0d245d961369528f1ab71cd643de22/HatP32Dec202017/",
        "hat-p-32.txt",
        "transit of HAT-P-32b, 2017-12-20, MicroObservatory, 71 frames",
    ),
}


def fetch_sample(
    name: str,
    folder: Path | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    base_url: str | None = None,
) -> Path:
    """Fetch a sample night; what is there already is only checked.

    Parameters
    ----------
    name
        A key of `SAMPLES`.
    folder
        Where to; the user's cache by default.
    base_url
        A mirror.

    Raises
    ------
    InvalidInput
        There is no such sample.
    SampleUnreachable
        A file could not be fetched, or is not what it should be.
    """
    if name not in SAMPLES:
        raise InvalidInput(
            "there is no such sample", found=name, expected=f"one of {', '.join(SAMPLES)}"
        )
    sample = SAMPLES[name]
    target = folder or platformdirs.user_cache_path("firstlight") / "samples" / name
    text = resources.files("firstlight.services").joinpath("data", sample.listing).read_text()
    registry = {file: f"sha256:{digest}" for file, digest in map(str.split, text.splitlines())}
    keeper = pooch.create(target, base_url or sample.url, registry=registry, retry_if_failed=2)
    pooch.get_logger().setLevel("WARNING")
    for number, file in enumerate(registry):
        try:
            keeper.fetch(file)
        except (OSError, ValueError) as fault:
            raise SampleUnreachable(
                subject=file,
                found=str(fault).splitlines()[0],
                hint=f"put the files into {target} by hand, or: firstlight simulate",
            ) from fault
        if on_progress is not None:
            on_progress(number + 1, len(registry))
    return target
