"""Raw FITS files: what is in them, their headers, and their pixels one image at a time.

Plain files and those packed by gzip, bzip2, xz or FITS tile compression (``.fz``) read alike.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header
from numpy.typing import NDArray

from firstlight.errors import BadFile
from firstlight.formats import fits_errors as bad
from firstlight.formats.file_errors import check_is_readable_file
from firstlight.formats.fits_cards import CARD, is_blank
from firstlight.formats.fits_layout import BLOCK, Hdu, scan
from firstlight.formats.packed_stream import compression_of, open_unpacked, unpack_to_disk

__all__ = [
    "FitsFile",
    "Inspection",
    "check_pixels",
    "inspect",
    "read_header",
    "read_image",
]

Pixels = NDArray[Any]
HduKey = int | str | None
_EXACT = {8: "u1", 16: "i2", 32: "i4", 64: "i8", -32: "f4", -64: "f8"}
_UNSIGNED = {(8, -128.0): "i1", (16, 2.0**15): "u2", (32, 2.0**31): "u4", (64, 2.0**63): "u8"}


@dataclass(frozen=True)
class Inspection:
    """What a file is, found without keeping its pixels.

    Attributes
    ----------
    compression
        Of the whole file: ``gzip``, ``bzip2``, ``xz`` or ``""``.
    images
        The HDUs that hold a single plane, in file order.
    notes
        What is odd but can be lived with, one sentence each.
    """

    path: Path
    size: int
    compression: str
    hdus: tuple[Hdu, ...]
    images: tuple[Hdu, ...]
    notes: tuple[str, ...]


class FitsFile:
    """An open FITS file. Use it as a context manager.

    Parameters
    ----------
    path
        A FITS file, packed or not.

    Notes
    -----
    Nothing is read until it is asked for. A packed file is unpacked once, to an unnamed
    temporary file, when the first pixels are asked for. Memory holds one plane at a time.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = check_is_readable_file(path)
        self._stream: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    @cached_property
    def hdus(self) -> tuple[Hdu, ...]:
        """All HDUs. Walks through the whole file once, so damage of a packed file is found."""
        with open_unpacked(self.path) as (stream, size):
            found = tuple(scan(stream, self.path, size))
            # The checksum of a packed file is at its end, behind the last HDU.
            while size is None and stream.read(1 << 20):
                pass
        return found

    @property
    def images(self) -> tuple[Hdu, ...]:
        """The HDUs with pixels of any number of axes, in file order."""
        return tuple(hdu for hdu in self.hdus if hdu.is_image)

    def find(self, key: HduKey = None) -> Hdu:
        """Return one HDU.

        Parameters
        ----------
        key
            The index of an HDU, its EXTNAME in any case, or ``None`` for the first image.
        """
        if key is None:
            if not self.images:
                raise bad.NoImage(subject=self.path, found=self._contents())
            return self.images[0]
        if isinstance(key, str):
            for hdu in self.hdus:
                if hdu.name == key.strip().upper():
                    return hdu
        elif 0 <= key < len(self.hdus):
            return self.hdus[key]
        raise bad.NoSuchImage(subject=self.path, found=self._contents(), expected=f"an HDU {key!r}")

    def image(self, key: HduKey = None) -> Pixels:
        """Read the pixels of one plane.

        Returns
        -------
        array
            Shape ``(ny, nx)``, native byte order, first row of the file first. Integers stay
            integers (unsigned ones, which FITS stores with BZERO, come back unsigned); scaled
            integers, integers with BLANK (undefined pixels become NaN) and floats of 64 bits
            come back as float32.
        """
        hdu = self.find(key)
        if not hdu.is_image:
            raise bad.NoImage(subject=self.path, field=hdu.label, found=hdu.kind)
        shape = hdu.plane_shape(self.path)
        if hdu.kind == "tiles":
            return self._unpack_tiles(hdu).reshape(shape)
        raw = np.frombuffer(self._bytes(hdu.start, hdu.size), f">{_EXACT[hdu.bitpix]}")
        return _scaled(raw, hdu, self.path).reshape(shape)

    def _contents(self) -> str:
        return ", ".join(f"{hdu.label}: {hdu.kind}" for hdu in self.hdus)

    def _bytes(self, start: int, size: int) -> bytes:
        if self._stream is None:
            packed = compression_of(self.path)
            self._stream = unpack_to_disk(self.path) if packed else self.path.open("rb")
        self._stream.seek(start)
        return self._stream.read(size)

    def _unpack_tiles(self, hdu: Hdu) -> Pixels:
        """Let astropy unpack the tiles, from a small file in memory with this HDU alone."""
        primary = fits.PrimaryHDU().header.tostring().encode()
        head = hdu.raw + b"END".ljust(CARD)
        alone = b"".join(
            (
                primary,
                head.ljust(-(-len(head) // BLOCK) * BLOCK),
                self._bytes(hdu.start, -(-hdu.size // BLOCK) * BLOCK).ljust(
                    -(-hdu.size // BLOCK) * BLOCK, b"\0"
                ),
            )
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about odd cards, which `notes` tells
                with fits.open(io.BytesIO(alone), memmap=False) as opened:
                    pixels = np.asarray(opened[1].data)
        except Exception as error:
            raise bad.CorruptTiles(
                subject=self.path, field=hdu.label, found=f"{type(error).__name__}: {error}"
            ) from error
        if pixels.shape != hdu.shape:
            raise bad.CorruptTiles(
                subject=self.path, field=hdu.label, found=pixels.shape, expected=hdu.shape
            )
        return _native(pixels)


def _native(pixels: Pixels) -> Pixels:
    kind = np.dtype("f4") if pixels.dtype.str[1:] == "f8" else pixels.dtype.newbyteorder("=")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        return np.array(pixels, dtype=kind, order="C")


def _scaled(raw: Pixels, hdu: Hdu, subject: object) -> Pixels:
    """Apply BSCALE, BZERO and BLANK; the type is described at `FitsFile.image`."""
    header = hdu.cards("BSCALE", "BZERO", "BLANK")
    scale = _scaling(header, "BSCALE", 1.0, hdu, subject)
    zero = _scaling(header, "BZERO", 0.0, hdu, subject)
    if scale == 0:
        raise bad.BadScaling(subject=subject, field="BSCALE", found=0, expected="not zero")
    pixels = _native(raw)
    blank = None if hdu.bitpix < 0 else header.get("BLANK")
    if blank is not None and (isinstance(blank, bool) or not isinstance(blank, int)):
        raise bad.BadScaling(subject=subject, field="BLANK", found=blank, expected="an integer")
    undefined = None if blank is None else pixels == blank
    if undefined is not None and not undefined.any():
        undefined = None
    unsigned = _UNSIGNED.get((hdu.bitpix, zero)) if scale == 1 else None
    if undefined is None and scale == 1 and zero == 0:
        return pixels
    if undefined is None and unsigned is not None:
        # Adding half the range to a two's complement integer flips its highest bit.
        flipped = pixels.view(unsigned)
        flipped ^= flipped.dtype.type(1 << (hdu.bitpix - 1)) if unsigned != "i1" else np.int8(-128)
        return flipped
    result = (pixels * np.float64(scale) + zero).astype(np.float32)
    if undefined is not None:
        result[undefined] = np.nan
    return result


def _scaling(header: Header, keyword: str, default: float, hdu: Hdu, subject: object) -> float:
    value = header.get(keyword)
    if is_blank(value):
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise bad.BadScaling(
            subject=subject, field=f"{keyword} of {hdu.label}", found=value, expected="a number"
        )
    return float(value)


def read_header(path: str | os.PathLike[str], key: HduKey = 0) -> Header:
    """Read one header, without its pixels and without what comes behind it.

    Parameters
    ----------
    path
        A FITS file, packed or not.
    key
        The index of an HDU, its EXTNAME in any case, or ``None`` for the first image.

    Returns
    -------
    Header
        Its cards neither warn nor fail when they are used. Structural cards are included.
    """
    path = check_is_readable_file(path)
    wanted = key.strip().upper() if isinstance(key, str) else key
    seen = []
    with open_unpacked(path) as (stream, size):
        for hdu in scan(stream, path, size):
            first_image = wanted is None and hdu.is_image
            if first_image or wanted == hdu.index or (wanted == hdu.name and hdu.name):
                return hdu.header
            seen.append(f"{hdu.label}: {hdu.kind}")
    if wanted is None:
        raise bad.NoImage(subject=path, found=", ".join(seen))
    raise bad.NoSuchImage(subject=path, found=", ".join(seen), expected=f"an HDU {key!r}")


def read_image(path: str | os.PathLike[str], key: HduKey = None) -> Pixels:
    """Read one plane of a FITS file; see `FitsFile.image`."""
    with FitsFile(path) as opened:
        return opened.image(key)


def inspect(path: str | os.PathLike[str], *, pixels: bool = False) -> Inspection:
    """Check a raw file as it arrives.

    Parameters
    ----------
    path
        Any path.
    pixels
        Whether to read every image too, and refuse those with no or only one value.

    Returns
    -------
    Inspection
        Raises an error that names what is wrong: the structure of every HDU, the declared
        against the true size, and at least one image of a single plane. With `pixels`, also
        tiles that cannot be unpacked.
    """
    with FitsFile(path) as opened:
        if not opened.images:
            opened.find(None)
        shapes = [(hdu, _problem_of_plane(hdu, opened.path)) for hdu in opened.images]
        planes = tuple(hdu for hdu, problem in shapes if problem is None)
        problems = [problem for _, problem in shapes if problem is not None]
        if not planes:
            raise problems[0]
        notes = [f"{hdu.label}: {note}" for hdu in opened.hdus for note in hdu.notes]
        notes += [f"{problem.field}: {problem.message} ({problem.found})" for problem in problems]
        if pixels:
            for hdu in planes:
                check_pixels(opened.image(hdu.index), opened.path, hdu.label)
        return Inspection(
            path=opened.path,
            size=opened.path.stat().st_size,
            compression=compression_of(opened.path),
            hdus=opened.hdus,
            images=planes,
            notes=tuple(notes),
        )


def _problem_of_plane(hdu: Hdu, subject: object) -> BadFile | None:
    try:
        hdu.plane_shape(subject)
    except BadFile as problem:
        return problem
    return None


def check_pixels(image: Pixels, subject: object, label: str) -> None:
    """Refuse an image that says nothing: all undefined, or all of one value."""
    low, high = image.min(), image.max()
    if np.isnan(low):
        defined = image[np.isfinite(image)]
        if not defined.size:
            raise bad.AllNan(subject=subject, field=label, found=f"{image.size} undefined pixels")
        low, high = defined.min(), defined.max()
    if low == high:
        raise bad.ConstantImage(
            subject=subject, field=label, found=f"{low} everywhere", expected="an exposed image"
        )
