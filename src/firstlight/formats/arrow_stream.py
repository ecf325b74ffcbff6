"""Columns as an Arrow IPC stream, which programs read without parsing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["write_arrow"]


def write_arrow(
    columns: Mapping[str, NDArray[Any]],
    *,
    units: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> bytes:
    """Encode columns of one length as one record batch.

    Parameters
    ----------
    columns
        ``(n,)`` each. NaN becomes null; texts are written once each and referred to.
    units
        By column, kept as the field's metadata.
    metadata
        JSON values, kept as text under their keys.
    """
    arrays, fields = [], []
    for name, values in columns.items():
        if values.dtype.kind in "OUS":
            array = pa.array(values, pa.string()).dictionary_encode()
        elif values.dtype.kind == "f":
            array = pa.array(values, mask=np.isnan(values))
        else:
            array = pa.array(values)
        unit = (units or {}).get(name)
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata={"unit": unit} if unit else None))
    told = {key: json.dumps(value) for key, value in (metadata or {}).items()}
    table = pa.table(arrays, schema=pa.schema(fields, metadata=told or None))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return bytes(sink.getvalue())
