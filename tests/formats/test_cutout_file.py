"""Cutouts come back as they were written, whole or one row at a time."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

sys.path.append(str(Path(__file__).parents[1] / "web"))
from measured import cutout_rows

from firstlight.formats.cutout_file import (
    BadCutouts,
    CutoutFile,
    MissingCutouts,
    write_cutouts,
)


def _same(one, other):
    for part in ("found", "stamps"):
        for field in dataclasses.fields(getattr(one, part)):
            mine = getattr(getattr(one, part), field.name)
            theirs = getattr(getattr(other, part), field.name)
            np.testing.assert_array_equal(mine, theirs, err_msg=field.name)
            assert mine.dtype == theirs.dtype, field.name
    np.testing.assert_array_equal(one.psfs, other.psfs)


@pytest.mark.parametrize("count", [0, 1, 16, 37])
def test_all_rows_come_back(tmp_path, count):
    rows = cutout_rows(count)
    file = tmp_path / "cutouts.parquet"
    file.write_bytes(write_cutouts(rows))
    back = CutoutFile(file).read()
    assert len(back) == count
    _same(back, rows)
    assert write_cutouts(rows) == file.read_bytes()


@pytest.mark.parametrize("number", [0, 15, 16, 36])
def test_a_row_is_read_by_itself(tmp_path, number):
    rows = cutout_rows(37)
    file = tmp_path / "cutouts.parquet"
    file.write_bytes(write_cutouts(rows))
    one = CutoutFile(file).row(number)
    assert len(one) == 1
    assert one.found.score[0] == rows.found.score[number]
    np.testing.assert_array_equal(one.stamps.pixels[0], rows.stamps.pixels[number])
    np.testing.assert_array_equal(one.stamps.flags[0], rows.stamps.flags[number])
    np.testing.assert_array_equal(one.psfs[0], rows.psfs[number])


@pytest.mark.parametrize("points", [1, 2])
def test_the_points_a_pixel_of_psfs_come_back(tmp_path, points):
    file = tmp_path / "cutouts.parquet"
    file.write_bytes(write_cutouts(dataclasses.replace(cutout_rows(3), points=points)))
    assert CutoutFile(file).read().points == points
    assert CutoutFile(file).row(1).points == points


def test_files_that_do_not_tell_the_points_have_one_a_pixel(tmp_path):
    file = tmp_path / "cutouts.parquet"
    file.write_bytes(write_cutouts(cutout_rows(3)))
    table = pq.read_table(file)
    sides = table.schema.metadata[b"firstlight.sides"].rsplit(b" ", 1)[0]
    pq.write_table(table.replace_schema_metadata({b"firstlight.sides": sides}), file)
    back = CutoutFile(file).read()
    assert back.points == 1
    _same(back, cutout_rows(3))


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingCutouts):
        CutoutFile(tmp_path / "none.parquet").read()
    file = tmp_path / "cutouts.parquet"
    file.write_bytes(write_cutouts(cutout_rows(3)))
    with pytest.raises(MissingCutouts) as fault:
        CutoutFile(file).row(3)
    assert fault.value.found == "3"
    file.write_bytes(b"PAR1 no table")
    with pytest.raises(BadCutouts):
        CutoutFile(file).read()
