"""Each bad input gives its own clear error, and no good one is refused."""

import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from bad_inputs import BadInput, make_bad_inputs, make_good_inputs, stars

from firstlight.errors import FirstlightError, Kind
from firstlight.formats.fits_file import FitsFile, inspect, read_header
from firstlight.instruments import get_instrument_instance


@pytest.fixture(scope="module")
def bad_folder():
    with tempfile.TemporaryDirectory() as folder:
        yield {bad.name: bad for bad in make_bad_inputs(Path(folder))}


def _names() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        return [bad.name for bad in make_bad_inputs(Path(folder))]


NAMES = _names()


def _first_problem(bad: BadInput) -> FirstlightError:
    try:
        inspect(bad.path, pixels=True)
    except FirstlightError as error:
        return error
    camera = get_instrument_instance("GenericFITS")
    problems = camera.check_header(read_header(bad.path), subject=bad.path)
    assert problems, f"{bad.name} was accepted"
    return problems[0]


def test_there_are_enough_different_ones():
    assert len(set(NAMES)) == len(NAMES) >= 60


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_gives_its_own_error(bad_folder, name):
    bad = bad_folder[name]
    error = _first_problem(bad)
    assert error.code == bad.expected_code, str(error)
    assert error.kind in (Kind.USER, Kind.MISSING)
    assert bad.mention in str(error)
    # The file is named; the name of an over-long one is cut.
    assert bad.path.name.replace("\0", "\\x00")[:30] in str(error)


def test_absurd_sizes_are_refused_without_allocating(bad_folder):
    tracemalloc.start()
    for name in ("absurd axes", "vast axes", "declared larger than it is", "tiles absurd"):
        _first_problem(bad_folder[name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_a_missing_file_is_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.fits"):
        inspect(tmp_path / "nothing.fits")


def test_good_inputs_read_as_they_were_written(tmp_path):
    for path in make_good_inputs(tmp_path):
        report = inspect(path, pixels=True)
        with FitsFile(path) as opened:
            np.testing.assert_array_equal(opened.image(), stars(), err_msg=path.name)
        assert report.images
        for card in read_header(path).cards:
            assert isinstance(str(card), str)


def test_repaired_headers_are_noted(tmp_path):
    notes = {path.name: inspect(path).notes for path in make_good_inputs(tmp_path)}
    assert "FILTER" in notes["accents.fits"][0]
    assert "FILTER" in notes["unprintable.fits"][0]
    assert notes["card_of_noise.fits"]
    assert not notes["odd_cards.fits"]
    assert not notes["plain.fits"]
