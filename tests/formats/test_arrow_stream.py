"""Arrow streams hold what was put in."""

import json

import numpy as np
import pyarrow as pa

from firstlight.formats.arrow_stream import write_arrow


def test_columns_come_back():
    columns = {
        "id": np.array([1, 2, 3], np.int64),
        "flux": np.array([1.5, np.nan, -2.0]),
        "filter": np.array(["g", "r", "g"], object),
    }
    body = write_arrow(columns, units={"flux": "uJy"}, metadata={"object": "FL 1", "n": 3})
    table = pa.ipc.open_stream(body).read_all()
    assert table.to_pydict() == {
        "id": [1, 2, 3],
        "flux": [1.5, None, -2.0],
        "filter": ["g", "r", "g"],
    }
    assert table.schema.field("flux").metadata == {b"unit": b"uJy"}
    assert {k: json.loads(v) for k, v in table.schema.metadata.items()} == {
        b"object": "FL 1",
        b"n": 3,
    }
    assert pa.types.is_dictionary(table.schema.field("filter").type)


def test_no_rows():
    table = pa.ipc.open_stream(write_arrow({"flux": np.empty(0)})).read_all()
    assert table.num_rows == 0
