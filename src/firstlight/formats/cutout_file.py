"""Stamps of candidates as a columnar file (Parquet), of which single rows can be read."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from firstlight.algorithms.candidates.find import Candidates
from firstlight.algorithms.candidates.stamps import CandidateStamps
from firstlight.errors import BadFile, MissingError

__all__ = ["BadCutouts", "CutoutFile", "CutoutRows", "MissingCutouts", "write_cutouts"]

ROWS_TOGETHER = 16
"""Rows of a group: what is read for one of them."""

_IMAGES = ("new", "reference", "difference")
_SIDES = b"firstlight.sides"


class BadCutouts(BadFile):
    """The file does not hold cutouts."""

    code = "cutouts.bad"


class MissingCutouts(MissingError):
    """There is no such file of cutouts, or no such row in it."""

    code = "cutouts.missing"


@dataclass(frozen=True)
class CutoutRows:
    """Candidates with their stamps, one to one.

    Attributes
    ----------
    found
        Place and significance of each.
    stamps
        Pixels of new image, reference and difference, variance, flags.
    psfs
        Of the difference at each place, ``(n, m, m)``.
    points
        Of `psfs` a pixel, along each axis; two where stars are undersampled.
    """

    found: Candidates
    stamps: CandidateStamps
    psfs: NDArray[np.float32]
    points: int = 1

    @property
    def size(self) -> int:
        """Side of a stamp, pixels."""
        return int(self.stamps.pixels.shape[-1])

    def __len__(self) -> int:
        return len(self.found)


def write_cutouts(rows: CutoutRows) -> bytes:
    """Encode cutouts; the same ones give the same bytes."""
    stamps = rows.stamps
    columns: dict[str, pa.Array] = {
        name: pa.array(values) for name, values in rows.found.columns().items()
    }
    columns |= {"row": pa.array(stamps.row), "column": pa.array(stamps.column)}
    planes: dict[str, NDArray[Any]] = {name: stamps.pixels[:, n] for n, name in enumerate(_IMAGES)}
    planes |= {"variance": stamps.variance, "stamp_flags": stamps.flags, "psf": rows.psfs}
    for name, plane in planes.items():
        kind = np.uint16 if name == "stamp_flags" else np.float32
        flat = np.ascontiguousarray(plane, dtype=kind).reshape(-1)
        size = plane.shape[1] * plane.shape[2]
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(flat), size)
    table = pa.table(columns).replace_schema_metadata(
        {_SIDES: f"{rows.size} {rows.psfs.shape[-1]} {rows.points}".encode()}
    )
    stream = io.BytesIO()
    pq.write_table(
        table, stream, row_group_size=ROWS_TOGETHER, compression="zstd", use_dictionary=False
    )
    return stream.getvalue()


class CutoutFile:
    """A file of cutouts; opened anew for each question.

    Parameters
    ----------
    path
        On this machine.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def read(self) -> CutoutRows:
        """All rows.

        Raises
        ------
        MissingCutouts, BadCutouts
            There is no such file, or it holds something else.
        """
        with self._opened() as file:
            return _rows(file.read())

    def row(self, number: int) -> CutoutRows:
        """One row; only its group is read from the file.

        Raises
        ------
        MissingCutouts, BadCutouts
            There is no such row or file, or it holds something else.
        """
        with self._opened() as file:
            if not 0 <= number < file.metadata.num_rows:
                raise MissingCutouts(
                    subject=str(self._path), field="row", found=number,
                    expected=f"0 to {file.metadata.num_rows - 1}",
                )  # fmt: skip
            group, first = divmod(number, ROWS_TOGETHER)
            return _rows(file.read_row_group(group).slice(first, 1))

    def _opened(self) -> pq.ParquetFile:
        try:
            file = pq.ParquetFile(self._path)
        except FileNotFoundError:
            raise MissingCutouts(subject=str(self._path)) from None
        except (OSError, pa.ArrowInvalid) as fault:
            raise BadCutouts(subject=str(self._path), found=str(fault)) from fault
        names = set(file.schema_arrow.names)
        missing = {*_IMAGES, "variance", "stamp_flags", "psf", "row", "column"} - names
        if missing or _SIDES not in (file.schema_arrow.metadata or {}):
            file.close()
            raise BadCutouts(
                subject=str(self._path),
                expected=f"columns {', '.join(sorted(missing)) or 'that tell the size of a stamp'}",
            )
        return file


def _rows(table: pa.Table) -> CutoutRows:
    side, psf_side, *rest = (int(word) for word in table.schema.metadata[_SIDES].split())

    def plane(name: str, side: int) -> NDArray[Any]:
        column = table[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # of a table without rows
            return np.zeros((0, side, side), column.type.value_type.to_pandas_dtype())
        flat: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(table.num_rows, side, side)

    found = Candidates(**{f.name: table[f.name].to_numpy() for f in fields(Candidates)})
    stamps = CandidateStamps(
        pixels=np.stack([plane(name, side) for name in _IMAGES], axis=1),
        variance=plane("variance", side),
        flags=plane("stamp_flags", side),
        row=table["row"].to_numpy(),
        column=table["column"].to_numpy(),
    )
    # Files of before there were more than one do not say how many points a pixel has.
    return CutoutRows(found, stamps, plane("psf", psf_side), rest[0] if rest else 1)
