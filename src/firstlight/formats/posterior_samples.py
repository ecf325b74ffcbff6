"""Samples of posteriors: checked, thinned, packed into one file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.formats.plain_document import clean_text
from firstlight.formats.result_errors import ResultMalformed, ResultTooLarge

__all__ = ["MOST_PARAMETERS", "PACKED", "Samples", "pack", "samples_of", "thin", "unpack"]

PACKED = "application/x-npz"
"""Media type of what `pack` makes."""
MOST_PARAMETERS = 200
"""Of one model."""
_LONGEST_NAME = 128
_NUMBERS = frozenset({int, float, bool, type(None)})


@dataclass(frozen=True)
class Samples:
    """Draws from the posterior of one model.

    Attributes
    ----------
    values
        (parameters, draws), finite.
    sent
        Draws that were sent; more than there are here if they were thinned.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    sent: int

    @property
    def draws(self) -> int:
        """How many there are."""
        return int(self.values.shape[1])

    def columns(self, draws: int | None = None) -> dict[str, list[float]]:
        """By the name of the parameter, thinned to so many."""
        chosen = self if draws is None else thin(self, draws)
        return {name: row.tolist() for name, row in zip(chosen.names, chosen.values, strict=True)}


def samples_of(columns: Mapping[str, Any], where: str, *, most: int) -> tuple[Samples, int]:
    """Check samples that were sent; return them, and how many draws were not finite.

    A draw in which any parameter is not finite is left out.

    Parameters
    ----------
    columns
        Of each parameter a list of numbers (None for one that is not finite), or an array.
    where
        What they are called, for messages.
    most
        Numbers in all that are kept; of more, evenly chosen draws.

    Raises
    ------
    ResultMalformed
        They are of different lengths, are no numbers, or none is finite.
    ResultTooLarge
        There are more than `MOST_PARAMETERS`.
    """
    if len(columns) > MOST_PARAMETERS:
        raise ResultTooLarge(
            "the posterior has too many parameters",
            field=where,
            found=len(columns),
            expected=f"at most {MOST_PARAMETERS}",
        )
    names = tuple(clean_text(name)[:_LONGEST_NAME] for name in columns)
    if not names or len(set(names)) != len(names):
        raise ResultMalformed("the parameters need names that differ", field=where)
    rows = [_row(each, f"{where}.{name}"[:200]) for name, each in columns.items()]
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        raise ResultMalformed(
            "the parameters have different numbers of samples",
            field=where,
            found=", ".join(map(str, sorted(lengths)[:10])),
        )
    good = np.ones(len(rows[0]), bool)
    for row in rows:
        good &= np.isfinite(row)
    kept = np.flatnonzero(good)
    if not len(kept):
        raise ResultMalformed("no draw is finite in every parameter", field=where)
    chosen = kept[_evenly(len(kept), max(1, most // len(rows)))]
    values = np.stack([row[chosen] for row in rows])
    return Samples(names, values, len(good)), int(len(good) - len(kept))


def thin(samples: Samples, draws: int) -> Samples:
    """At most so many draws, evenly chosen."""
    if samples.draws <= draws:
        return samples
    chosen = samples.values[:, _evenly(samples.draws, draws)]
    return Samples(samples.names, chosen, samples.sent)


def pack(models: Mapping[str, Samples]) -> bytes:
    """All models as one file: a zip of ``.npy`` arrays, and ``models.json`` that names them."""
    made = io.BytesIO()
    facts = []
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as file:
        for number, (name, samples) in enumerate(models.items()):
            facts.append({"model": name, "parameters": samples.names, "sent": samples.sent})
            with file.open(f"samples_{number}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, samples.values, allow_pickle=False)
        file.writestr("models.json", json.dumps(facts))
    return made.getvalue()


def unpack(source: Path | bytes) -> dict[str, Samples]:
    """What `pack` has packed."""
    with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
        found = {}
        for number, facts in enumerate(json.loads(file.read("models.json"))):
            with file.open(f"samples_{number}.npy") as entry:
                values = np.lib.format.read_array(entry, allow_pickle=False)
            found[facts["model"]] = Samples(tuple(facts["parameters"]), values, facts["sent"])
    return found


def _row(values: Any, where: str) -> NDArray[np.float64]:
    if isinstance(values, np.ndarray):
        return np.asarray(values, np.float64).ravel()
    # Types first: numpy would make numbers of texts.
    if not isinstance(values, list) or not set(map(type, values)) <= _NUMBERS:
        raise ResultMalformed(
            "samples are no list of numbers", field=where, found=type(values).__name__
        )
    try:
        return np.asarray(values, np.float64)
    except OverflowError as fault:
        raise ResultMalformed("a number is too large", field=where) from fault


def _evenly(size: int, most: int) -> NDArray[np.intp]:
    if size <= most:
        return np.arange(size, dtype=np.intp)
    return np.linspace(0, size - 1, most).round().astype(np.intp)
