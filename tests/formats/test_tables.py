from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from firstlight.formats.tables import (
    BadTable,
    MissingTable,
    TableSchemaError,
    read_table,
    save_table,
    write_csv,
    write_table,
)


def sources() -> dict[str, np.ndarray]:
    return {
        "ra": np.array([10.5, 359.999999999, 0.0]),
        "flux": np.array([1.5, np.nan, -0.1], np.float32),
        "flags": np.array([0, 65535, 3], np.uint16),
        "good": np.array([True, False, True]),
        "name": np.array(["a", "süd", ""]),
        "apertures": np.arange(6, dtype=np.float32).reshape(3, 2),
    }


UNITS = {"ra": "deg", "flux": "uJy"}


def test_every_kind_of_column_comes_back_unchanged():
    table = read_table(
        write_table(
            sources(), units=UNITS, descriptions={"ra": "where"}, metadata={"seed": 3, "a": [1.5]}
        )
    )
    for name, values in sources().items():
        np.testing.assert_array_equal(table[name], values)
        assert table[name].dtype == values.dtype
        assert table[name].flags.writeable
    assert list(table) == list(sources())
    assert table.rows == 3
    assert table.units == UNITS
    assert table.descriptions == {"ra": "where"}
    assert table.metadata == {"seed": 3, "a": [1.5]}


def test_the_same_input_gives_the_same_bytes():
    one = write_table(sources(), units=UNITS, metadata={"b": 1, "a": 2})
    two = write_table(sources(), units=dict(reversed(UNITS.items())), metadata={"a": 2, "b": 1})
    assert one == two
    changed = sources()
    changed["ra"][0] += 1e-12
    assert write_table(changed, units=UNITS, metadata={"a": 2, "b": 1}) != one


def test_big_endian_and_strided_arrays_are_stored_by_value():
    columns = {"x": np.arange(4, dtype=">f4"), "y": np.arange(8, dtype=">i2")[::2]}
    table = read_table(write_table(columns))
    np.testing.assert_array_equal(table["x"], [0, 1, 2, 3])
    np.testing.assert_array_equal(table["y"], [0, 2, 4, 6])
    assert table["y"].dtype == np.int16


def test_masked_entries_are_nan_in_floats_and_masked_elsewhere():
    columns = {
        "f": np.ma.MaskedArray([1.0, 2.0], mask=[False, True]),
        "i": np.ma.MaskedArray([1, 2], mask=[True, False]),
        "b": np.ma.MaskedArray([True, True], mask=[True, False]),
        "s": np.ma.MaskedArray(["a", "b"], mask=[True, False]),
    }
    table = read_table(write_table(columns))
    assert np.isnan(table["f"][1])
    for name in "ibs":
        np.testing.assert_array_equal(table[name].mask, [True, False])
        assert table[name][1] == columns[name][1]


def test_times_keep_their_value():
    times = np.array(["2017-12-20T05:00:00.123456", "NaT"], "datetime64[us]")
    np.testing.assert_array_equal(read_table(write_table({"t": times}))["t"], times)


def test_only_the_wanted_columns_in_the_wanted_order():
    table = read_table(write_table(sources(), units=UNITS), columns=["flags", "ra"])
    assert list(table) == ["flags", "ra"]
    assert table.units == {"ra": "deg"}


def test_reads_bytes_paths_and_open_files(tmp_path: Path):
    path = tmp_path / "deep" / "sources.parquet"
    size = save_table(path, sources(), units=UNITS)
    assert size == path.stat().st_size
    assert path.read_bytes() == write_table(sources(), units=UNITS)
    assert read_table(path).rows == 3
    assert read_table(io.BytesIO(path.read_bytes())).rows == 3


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    save_table(path, {"x": np.arange(3)})

    def refuse(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        save_table(path, {"x": np.arange(9)})
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]
    assert read_table(path).rows == 3


def test_an_empty_table_keeps_its_columns():
    table = read_table(write_table({"x": np.empty(0, np.float32), "v": np.empty((0, 3))}))
    assert table.rows == 0
    assert table["x"].dtype == np.float32
    assert table["v"].shape == (0, 3)


def test_tables_of_others_are_read():
    sink = io.BytesIO()
    pq.write_table(
        pa.table(
            {
                "band": pa.array(["g", "r", "g"]).dictionary_encode(),
                "mag": pa.array([1.5, None, 2.5]),
            }
        ),
        sink,
    )
    table = read_table(sink.getvalue())
    assert list(table["band"]) == ["g", "r", "g"]
    np.testing.assert_array_equal(table["mag"], [1.5, np.nan, 2.5])
    assert table.metadata == {}


def test_to_astropy_carries_units_and_masks():
    columns = {"ra": np.array([1.0]), "n": np.ma.MaskedArray([4], mask=[True])}
    made = read_table(write_table(columns, units={"ra": "deg"}, metadata={"a": 1})).to_astropy()
    assert made["ra"].unit == "deg"
    assert made["n"].mask[0]
    assert made.meta == {"a": 1}


@pytest.mark.parametrize(
    ("columns", "options", "word"),
    [
        ({"a": np.zeros(2), "b": np.zeros(3)}, {}, "a: 2, b: 3"),
        ({"a": np.zeros(2, complex)}, {}, "complex"),
        ({"a": np.zeros((2, 2, 2))}, {}, "(2, 2, 2)"),
        ({"a": np.array([object(), "x"], object)}, {}, "field"),
        ({"flux": np.zeros(2)}, {"units": {"fluxx": "uJy"}}, "did you mean 'flux'?"),
        ({"flux": np.zeros(2)}, {"metadata": {"x": float("nan")}}, "metadata"),
        ({"flux": np.zeros(2)}, {"metadata": {"x": object()}}, "metadata"),
    ],
)
def test_what_cannot_be_stored_is_named(columns, options, word):
    with pytest.raises(TableSchemaError) as caught:
        write_table(columns, **options)
    facts = caught.value.as_dict()
    assert word in " ".join([*facts, *(str(v) for v in facts.values())])


def test_an_unknown_column_names_the_nearest():
    payload = write_table(sources())
    with pytest.raises(TableSchemaError) as caught:
        read_table(payload, columns=["flag"])
    assert caught.value.hint == "did you mean 'flags'?"
    with pytest.raises(TableSchemaError):
        read_table(payload)["fluxx"]


@pytest.mark.parametrize("keep", [0, 3, 0.5, 0.98])
def test_a_file_cut_short_is_a_bad_table(keep, tmp_path):
    payload = write_table(sources())
    path = tmp_path / "cut.parquet"
    path.write_bytes(payload[: int(keep * len(payload)) if isinstance(keep, float) else keep])
    with pytest.raises(BadTable) as caught:
        read_table(path)
    assert caught.value.subject == str(path)


def test_a_damaged_page_is_found():
    payload = bytearray(write_table({"x": np.random.default_rng(1).random(1000)}))
    payload[2000] ^= 0xFF
    with pytest.raises(BadTable):
        read_table(bytes(payload))


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(MissingTable, match=r"none\.parquet"):
        read_table(tmp_path / "none.parquet")


def test_csv_has_units_and_metadata_as_comments():
    text = write_csv(sources(), units=UNITS, metadata={"band": "r", "n": 3}).decode()
    assert text.splitlines() == [
        "# band: r",
        "# n: 3",
        "# units: deg,uJy,,,,,",
        '"ra","flux","flags","good","name","apertures_0","apertures_1"',
        '10.5,1.5,0,true,"a",0,1',
        '359.999999999,,65535,false,"süd",2,3',
        '0,-0.1,3,true,"",4,5',
    ]


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(["f4", "f8", "i1", "i4", "i8", "u2", "bool"]),
        hnp.array_shapes(min_dims=1, max_dims=1, min_side=0),
    )
)
def test_any_array_survives(values):
    got = read_table(write_table({"x": values}))["x"]
    np.testing.assert_array_equal(got, values)
    assert got.dtype == values.dtype
