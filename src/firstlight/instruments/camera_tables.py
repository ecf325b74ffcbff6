"""Tables of a camera's makers: what amplifiers leave in each other, and how linear they are.

Crosstalk is a text with a line ``victim source coefficient`` for each pair, ``#`` begins a
comment; further columns are not read. Amplifiers are named by the section's id or its number
and their own name: ``N4A``, ``N4:A`` or ``ccd35A``, as in the public table of DECam.

Linearity is either a CSV file with the columns ``section,amplifier,counts,linear``, or FITS
with one table a section, named by EXTNAME or CCDNUM, with the columns ``ADU`` and
``ADU_LINEAR_A``, ``ADU_LINEAR_B``..., as in the public table of DECam.
"""

from __future__ import annotations

import csv
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits

from firstlight.algorithms.detector.linearity import Linearity
from firstlight.errors import InvalidInput
from firstlight.instruments.amplifiers import CrosstalkTerm
from firstlight.instruments.camera_file import BadCamera, CameraFile

__all__ = ["read_crosstalk", "read_linearity"]

Key = tuple[str, str]
"""Section and amplifier."""
_COLUMNS = ("section", "amplifier", "counts", "linear")


def read_crosstalk(path: Path, camera: CameraFile) -> dict[str, list[CrosstalkTerm]]:
    """Read the coefficients, by the section of the victim.

    Raises
    ------
    BadCamera
        A line is not three words, names no amplifier of the camera, or has a coefficient that is
        not a number between -1 and 1; the line is told.
    """
    names = _amplifier_names(camera)
    terms: dict[str, list[CrosstalkTerm]] = defaultdict(list)
    for number, line in enumerate(_lines(path), start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) < 3:
            raise BadCamera(subject=path, field=f"line {number}", found=line.strip(),
                            expected="victim, source and coefficient")  # fmt: skip
        victim, source = (_amplifier(word, names, path, number) for word in words[:2])
        coefficient = _number(words[2], path, number)
        if not abs(coefficient) < 1:
            raise BadCamera(subject=path, field=f"line {number}", found=words[2],
                            expected="a coefficient between -1 and 1")  # fmt: skip
        if victim != source and coefficient != 0:
            terms[victim[0]].append(CrosstalkTerm(victim[1], *source, coefficient))
    return dict(terms)


def read_linearity(path: Path, camera: CameraFile) -> dict[Key, Linearity]:
    """Read the tables of all amplifiers, by section and amplifier.

    Raises
    ------
    BadCamera
        The file cannot be read, misses a column, or has a table that does not rise.
    """
    pairs = (
        _pairs_from_csv(path) if path.suffix.lower() == ".csv" else _pairs_from_fits(path, camera)
    )
    made = {}
    for (section, amplifier), (counts, linear) in pairs.items():
        if section not in camera.by_id:
            raise BadCamera(subject=path, found=section, expected="a section of the camera")
        try:
            made[section, amplifier] = Linearity.of(counts, linear)
        except InvalidInput as fault:
            raise BadCamera(
                str(fault), subject=path, field=f"section {section}, amplifier {amplifier}"
            ) from fault
    return made


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as fault:
        raise BadCamera("not a text file", subject=path) from fault


def _amplifier_names(camera: CameraFile) -> Mapping[str, Key]:
    """Every way in which a table may name each amplifier."""
    names: dict[str, Key] = {}
    for ident, section in camera.by_id.items():
        layout = camera.layouts.get(section.layout or "", [])
        for amplifier in [each.name for each in layout] or [""]:
            key = (ident, amplifier)
            names |= {f"{ident}{amplifier}".upper(): key, f"{ident}:{amplifier}".upper(): key}
            if section.number is not None:
                names[f"CCD{section.number:02d}{amplifier}".upper()] = key
    return names


def _amplifier(word: str, names: Mapping[str, Key], path: Path, number: int) -> Key:
    found = names.get(word.upper())
    if found is None:
        raise BadCamera(
            subject=path, field=f"line {number}", found=word, expected="an amplifier of the camera"
        )
    return found


def _number(text: str | None, path: Path, number: int) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadCamera(subject=path, field=f"line {number}", found=text, expected="a number")
    return value


def _pairs_from_csv(path: Path) -> dict[Key, tuple[Sequence[float], Sequence[float]]]:
    reader = csv.DictReader(line for line in _lines(path) if not line.startswith("#"))
    if missing := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
        raise BadCamera(subject=path, field=missing[0], expected=f"columns {', '.join(_COLUMNS)}")
    pairs: dict[Key, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for number, row in enumerate(reader, start=2):
        counts, linear = pairs[str(row["section"]).strip(), str(row["amplifier"]).strip()]
        counts.append(_number(row["counts"], path, number))
        linear.append(_number(row["linear"], path, number))
    return dict(pairs)


def _pairs_from_fits(
    path: Path, camera: CameraFile
) -> dict[Key, tuple[Sequence[float], Sequence[float]]]:
    by_number = {section.number: ident for ident, section in camera.by_id.items()}
    pairs: dict[Key, tuple[Sequence[float], Sequence[float]]] = {}
    try:
        with fits.open(path, memmap=False) as opened:
            for hdu in opened[1:]:
                ident = _section_of_table(hdu, camera, by_number)
                columns = [] if ident is None else list(hdu.columns.names)
                for name in columns:
                    match = re.match(r"^ADU_LINEAR_(\w+)$", name, re.IGNORECASE)
                    if match is not None and ident is not None:
                        pairs[ident, match[1]] = (
                            np.asarray(hdu.data["ADU"], float),
                            np.asarray(hdu.data[name], float),
                        )  # type: ignore[assignment] # arrays are sequences of numbers
    except (OSError, KeyError, TypeError, ValueError) as fault:
        raise BadCamera(f"not a table of linearity: {fault}", subject=path) from fault
    if not pairs:
        raise BadCamera(
            subject=path, found="no table of a section", expected="columns ADU and ADU_LINEAR_A"
        )
    return pairs


def _section_of_table(
    hdu: fits.BinTableHDU, camera: CameraFile, by_number: Mapping[int | None, str]
) -> str | None:
    """Section that a table is of: by its name, its card CCDNUM, or a name such as CCD35."""
    if not isinstance(hdu, fits.BinTableHDU):
        return None
    name = str(hdu.name).strip()
    known = {ident.upper(): ident for ident in camera.by_id}
    if name.upper() in known:
        return known[name.upper()]
    number = hdu.header.get("CCDNUM")
    if number is None and (match := re.search(r"(\d+)$", name)):
        number = int(match[1])
    return by_number.get(number) if number is not None else None
