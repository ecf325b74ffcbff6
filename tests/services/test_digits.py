"""Numbers with the digits that their errors allow."""

import pytest

from firstlight.services.digits import measured


@pytest.mark.parametrize(
    ("value", "error", "told"),
    [
        (-0.015301, 0.3117, "-0.02 ± 0.31"),
        (11.351, 0.227, "11.35 ± 0.23"),
        (106_312.7, 21_984.0, "106000 ± 22000"),
        (23.07, 0.00432, "23.0700 ± 0.0043"),
        (3.2e-14, 1.1e-15, "3.2e-14 ± 1.1e-15"),
        (2.1384711, None, "2.1385"),
        (None, 0.3, ""),
    ],
)
def test_numbers_have_the_digits_of_their_errors(value, error, told):
    assert measured(value, error) == told
