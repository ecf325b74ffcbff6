"""Parquet tables to and from numpy arrays, with units, descriptions and metadata.

A table is a mapping of column names to arrays of equal length. Arrays are ``(n,)`` or, for
columns that hold a small vector in each row, ``(n, k)``. The same input gives the same bytes
(with the same version of pyarrow), so a table can be named by its checksum.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from astropy.table import Column, MaskedColumn, Table
from numpy.typing import NDArray

from firstlight.errors import BadFile, MissingError, UserError

__all__ = [
    "BadTable",
    "MissingTable",
    "TableData",
    "TableSchemaError",
    "read_table",
    "save_table",
    "write_csv",
    "write_table",
]

Array = NDArray[Any]

METADATA_KEY = b"firstlight"
UNIT_KEY = b"unit"
DESCRIPTION_KEY = b"description"


class TableSchemaError(UserError):
    """The columns do not fit together, or one that is asked for is not there."""

    code = "table.schema"


class BadTable(BadFile):
    """The file is not a readable Parquet table."""

    code = "table.bad"


class MissingTable(MissingError):
    """The table's file does not exist."""

    code = "table.missing"


@dataclass(frozen=True)
class TableData(Mapping[str, Array]):
    """A table in memory: a read-only mapping of column names to arrays.

    ``len`` is the number of columns, as of every mapping; `rows` is the number of rows.

    Attributes
    ----------
    columns
        Arrays of shape ``(n,)`` or ``(n, k)``. Missing values are NaN in float columns, NaT
        in times, and masked entries of a masked array elsewhere.
    units, descriptions
        By column name; columns without one are absent.
    metadata
        What was given to `write_table`; empty for tables that others wrote.
    """

    columns: Mapping[str, Array]
    units: Mapping[str, str] = field(default_factory=dict)
    descriptions: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        try:
            return self.columns[name]
        except KeyError:
            raise no_such_column(name, self.columns) from None

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def rows(self) -> int:
        """Number of rows; 0 for a table without columns."""
        return len(next(iter(self.columns.values()), ()))

    def to_astropy(self) -> Table:
        """Make an astropy Table with units, descriptions and metadata."""
        made = []
        for name, values in self.columns.items():
            kind = MaskedColumn if isinstance(values, np.ma.MaskedArray) else Column
            made.append(
                kind(
                    values,
                    name=name,
                    unit=self.units.get(name),
                    description=self.descriptions.get(name),
                )
            )
        return Table(made, meta=dict(self.metadata))


def no_such_column(name: str, known: Mapping[str, Any] | Sequence[str]) -> TableSchemaError:
    """Build the error for a column that is not there, naming the nearest that is."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return TableSchemaError(
        "the table has no such column",
        field=name,
        expected=f"one of {', '.join(known) or '(no columns)'}",
        hint=f"did you mean {near[0]!r}?" if near else None,
    )


def write_table(
    columns: Mapping[str, Array],
    *,
    units: Mapping[str, str] | None = None,
    descriptions: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> bytes:
    """Encode a table as Parquet (zstd).

    Parameters
    ----------
    columns
        Arrays of one length ``n``: numbers, booleans, strings or times ``(n,)``, or numbers
        ``(n, k)``. Any byte order. Masked entries become NaN in float columns and nulls in
        others. Column order is kept.
    units
        Unit by column, as astropy writes it (``"deg"``, ``"uJy"``).
    descriptions
        One sentence by column.
    metadata
        Anything that JSON can hold; NaN and infinity cannot be held.

    Returns
    -------
    bytes
        The same for the same input and the same version of pyarrow.

    Raises
    ------
    TableSchemaError
        Lengths differ, a type cannot be stored, a unit or a description names no column, or
        the metadata is not JSON.
    """
    table = _to_arrow(columns, units or {}, descriptions or {}, metadata or {})
    floats = [f.name for f in table.schema if pa.types.is_floating(f.type)]
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        # Measured values hardly ever repeat, so a dictionary only costs; their bytes, sorted by
        # significance, compress well.
        use_dictionary=[f.name for f in table.schema if f.name not in floats],
        use_byte_stream_split=floats,
        compression="zstd",
        compression_level=3,
        version="2.6",
        write_page_checksum=True,
        store_schema=True,
    )
    return sink.getvalue()


def save_table(
    path: Path,
    columns: Mapping[str, Array],
    *,
    units: Mapping[str, str] | None = None,
    descriptions: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> int:
    """Write a table to `path` in one step: readers see the old file or the new one, whole.

    The folder is made where needed. Parameters and errors are those of `write_table`.

    Returns
    -------
    int
        Size of the file in bytes.
    """
    payload = write_table(columns, units=units, descriptions=descriptions, metadata=metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)  # mkstemp's 0600 would hide it from other accounts
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return len(payload)


def read_table(source: bytes | Path | BinaryIO, columns: Sequence[str] | None = None) -> TableData:
    """Decode a Parquet table, ours or anyone's.

    Parameters
    ----------
    source
        The bytes, a path, or an open binary file.
    columns
        Read only these, in this order.

    Raises
    ------
    MissingTable
        There is no file at the path.
    BadTable
        Not Parquet, cut short or damaged.
    TableSchemaError
        A wanted column is not there.
    """
    subject = str(source) if isinstance(source, Path) else None
    with _open(source, subject) as parquet, _reading(subject):
        names = parquet.schema_arrow.names
        for name in columns or ():
            if name not in names:
                raise no_such_column(name, names)
        table = parquet.read(columns=None if columns is None else list(columns))
    if columns is not None:
        table = table.select(list(columns))
    return TableData(
        columns={name: _to_numpy(table.column(name)) for name in table.column_names},
        units=_field_texts(table.schema, UNIT_KEY),
        descriptions=_field_texts(table.schema, DESCRIPTION_KEY),
        metadata=json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}")),
    )


def write_csv(
    columns: Mapping[str, Array],
    *,
    units: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> bytes:
    """Encode a table as CSV for spreadsheets and old programs.

    The first lines are comments: one ``# key: value`` for each metadata entry, then
    ``# units:`` with one unit a column, then the row of names. Missing values and NaN are
    empty. Floats have the fewest digits that read back exactly. A vector column ``v`` of
    length ``k`` becomes ``v_0`` to ``v_{k-1}``.

    Raises
    ------
    TableSchemaError
        As `write_table`.
    """
    flat: dict[str, Array] = {}
    flat_units: list[str] = []
    for name, values in columns.items():
        parts = {name: values}
        if np.ndim(values) == 2:
            parts = {f"{name}_{i}": values[:, i] for i in range(values.shape[1])}
        flat |= parts
        flat_units += [(units or {}).get(name, "")] * len(parts)
    table = _to_arrow(flat, {}, {}, {})
    for index, name in enumerate(table.column_names):
        if pa.types.is_floating(table.schema.field(index).type):
            column = table.column(index)
            blank = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
            table = table.set_column(index, name, blank)
    sink = io.BytesIO()
    for key, value in sorted((metadata or {}).items()):
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        sink.write(f"# {key}: {' '.join(text.splitlines())}\n".encode())
    sink.write(f"# units: {','.join(flat_units)}\n".encode())
    pacsv.write_csv(table, sink, pacsv.WriteOptions(quoting_style="needed"))
    return sink.getvalue()


def _to_arrow(
    columns: Mapping[str, Array],
    units: Mapping[str, str],
    descriptions: Mapping[str, str],
    metadata: Mapping[str, Any],
) -> pa.Table:
    for name in [*units, *descriptions]:
        if name not in columns:
            raise no_such_column(name, columns)
    arrays = {name: _column_to_arrow(name, values) for name, values in columns.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise TableSchemaError(
            "columns have different lengths",
            found=", ".join(f"{name}: {n}" for name, n in lengths.items()),
            expected="one length",
        )
    fields = []
    for name, array in arrays.items():
        notes = {}
        if name in units:
            notes[UNIT_KEY] = units[name].encode()
        if name in descriptions:
            notes[DESCRIPTION_KEY] = descriptions[name].encode()
        fields.append(pa.field(name, array.type, metadata=notes or None))
    try:
        text = json.dumps(dict(metadata), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as err:
        raise TableSchemaError(
            "the metadata cannot be written as JSON", field="metadata", found=err
        ) from err
    schema = pa.schema(fields, metadata={METADATA_KEY: text.encode()} if metadata else None)
    return pa.Table.from_arrays(list(arrays.values()), schema=schema)


def _column_to_arrow(name: str, values: Array) -> pa.Array:
    mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    array = np.ma.getdata(values) if mask is not None else np.asarray(values)
    if array.ndim not in {1, 2}:
        raise _unfit(name, f"shape {array.shape}", "shape (n,) or (n, k)")
    array = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    if array.dtype.kind == "f" and mask is not None:
        array = np.where(mask, np.array(np.nan, array.dtype), array)
        mask = None
    if array.dtype.kind not in "biufMUSO":
        raise _unfit(name, f"type {array.dtype}", "numbers, booleans, strings or times")
    if array.dtype.kind == "S":
        array = np.char.decode(array, "ascii", "replace")
    if array.ndim == 2:
        if array.dtype.kind not in "iuf" or mask is not None:
            raise _unfit(name, f"{array.dtype} vectors", "vectors of numbers, without a mask")
        return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])
    try:
        kind = pa.string() if array.dtype.kind in "UO" else None
        return pa.array(array, type=kind, mask=mask, from_pandas=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as err:
        raise _unfit(name, str(err), "numbers, booleans, strings or times") from err


def _unfit(name: str, found: str, expected: str) -> TableSchemaError:
    return TableSchemaError(
        "the column cannot be stored", field=name, found=found, expected=expected
    )


def _to_numpy(column: pa.ChunkedArray) -> Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_fixed_size_list(kind) and not column.null_count:
        flat = _to_numpy(pc.list_flatten(column))
        return flat.reshape(len(column), kind.list_size)
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
        kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        if not column.null_count:
            return _writable(column)
        mask = np.asarray(column.is_null())
        filled = pc.fill_null(column, pa.scalar(False if pa.types.is_boolean(kind) else 0, kind))
        return np.ma.MaskedArray(_writable(filled), mask=mask)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        text = np.array(pc.fill_null(column, "").to_pylist(), dtype=str)
        if not column.null_count:
            return text
        return np.ma.MaskedArray(text, mask=np.asarray(column.is_null()))
    return _writable(column)


def _writable(column: pa.ChunkedArray) -> Array:
    array = np.asarray(column.to_numpy())
    return array if array.flags.writeable else array.copy()


def _field_texts(schema: pa.Schema, key: bytes) -> dict[str, str]:
    found = {f.name: (f.metadata or {}).get(key) for f in schema}
    return {name: text.decode() for name, text in found.items() if text is not None}


@contextlib.contextmanager
def _reading(subject: str | None) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as err:
        raise BadTable(subject=subject, found=err, expected="a Parquet file") from err


@contextlib.contextmanager
def _open(source: bytes | Path | BinaryIO, subject: str | None) -> Iterator[pq.ParquetFile]:
    if isinstance(source, Path) and not source.is_file():
        raise MissingTable(subject=subject)
    stream = pa.BufferReader(source) if isinstance(source, bytes) else source
    with _reading(subject):
        parquet = pq.ParquetFile(stream, page_checksum_verification=True)
    with parquet:
        yield parquet
