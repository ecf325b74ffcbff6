import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.errors import InvalidInput
from firstlight.formats.spectrum_text import BadSpectrumText, read_spectrum_text

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)


@given(
    rows=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=20),
    between=st.sampled_from([" ", "\t", ",", ", ", ";", "   "]),
    end=st.sampled_from(["\n", "\r\n"]),
    order=st.permutations([0, 1, 2]),
)
def test_what_is_written_is_read(rows, between, end, order):
    lines = [between.join(repr(row[order.index(at)]) for at in range(3)) for row in rows]
    found = read_spectrum_text(
        end.join(["# a comment", *lines]),
        wave_column=order[0],
        flux_column=order[1],
        error_column=order[2],
    )
    expected = np.array(rows)
    np.testing.assert_array_equal(found.wavelengths, expected[:, 0])
    np.testing.assert_array_equal(found.fluxes, expected[:, 1])
    np.testing.assert_array_equal(found.errors, expected[:, 2])


@given(
    text=st.text(max_size=200) | st.text("0123456789.eEdD+-# ,;\n\tnaif", max_size=200),
    columns=st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.none() | st.integers(-3, 3)),
)
def test_any_text_is_a_spectrum_or_none(text, columns):
    try:
        found = read_spectrum_text(
            text, wave_column=columns[0], flux_column=columns[1], error_column=columns[2]
        )
    except BadSpectrumText:
        return
    assert found.wavelengths.shape == found.fluxes.shape
    assert found.wavelengths.size > 0
    assert (found.errors is None) == (columns[2] is None)


def test_headers_names_of_columns_and_fortran():
    found = read_spectrum_text(
        "\ufeff# OBSERVER: Ada\n"
        "#TELESCOP= 'P60     '           / the telescope\n"
        "# just words\n"
        "wavelength flux err\n"
        "4000 1.5D-15 1e-16 # the first\n"
        "\n"
        "4001 -2d-15 1e-16\n",
        error_column=-1,
    )
    assert found.header == {"OBSERVER": "Ada", "TELESCOP": "P60"}
    np.testing.assert_array_equal(found.wavelengths, [4000, 4001])
    np.testing.assert_array_equal(found.fluxes, [1.5e-15, -2e-15])
    np.testing.assert_array_equal(found.errors, [1e-16, 1e-16])


def test_numbers_that_are_none_are_read_as_such():
    found = read_spectrum_text("1 nan\n2 -Inf\n3 infinity\n")
    assert np.isnan(found.fluxes[0])
    assert list(found.fluxes[1:]) == [-np.inf, np.inf]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1 2\n3\n", "line 2"),
        ("1 2\n3 x\n", "line 2"),
        ("1 2\n3 1_0\n", "line 2"),
        ("1 2\nwave flux\n", "line 2"),
        ("1 2\n3 ٣\n", "line 2"),
        ("a b\nc d\n", "line 2"),
        ("", None),
        ("# only: words", None),
    ],
)
def test_texts_that_are_none_name_their_line(text, line):
    with pytest.raises(BadSpectrumText) as fault:
        read_spectrum_text(text)
    assert fault.value.subject == line


@pytest.mark.parametrize("column", [1000, -1001, 10**30])
def test_columns_have_bounds(column):
    with pytest.raises(InvalidInput):
        read_spectrum_text("1 2", wave_column=column)
