"""What is given for one image counts more than what its amplifiers say of themselves."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io.fits import Header

from firstlight.algorithms.flags import Flag
from firstlight.instruments import get_instrument_instance
from firstlight.pipeline.image_analysis_frame import _frame, mask
from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings

CARDS = {
    "INSTRUME": "DECam", "GAINA": 4.0, "GAINB": 5.0, "RDNOISEA": 6.0, "RDNOISEB": 8.0,
    "SATURATA": 30_000.0, "SATURATB": 40_000.0,
    "DATASECA": "[11:42,1:40]", "BIASSECA": "[1:10,1:40]", "CCDSECA": "[1:32,1:40]",
    "DATASECB": "[43:74,1:40]", "BIASSECB": "[75:84,1:40]", "CCDSECB": "[33:64,1:40]",
}  # fmt: skip


def bench(*, cards=None, **given):
    """Counts of 1000 above an overscan of 200, and one pixel of 35 000 in each half."""
    pixels = np.full((40, 84), 1200.0, np.float32)
    pixels[:, :10] = pixels[:, 74:] = 200.0
    pixels[20, 21] = pixels[20, 53] = 35_000.0
    raw = SimpleNamespace(
        camera=get_instrument_instance("DECam"), header=Header({**CARDS, **(cards or {})}),
        section_id="N4", pixels=pixels, name="x.fits",
    )  # fmt: skip
    made = SimpleNamespace(
        raw=raw, settings=ImageAnalysisSettings(**given), is_mosaic=False, offset=None,
        result=SimpleNamespace(exp_time=30.0), note=lambda text: None,
    )  # fmt: skip
    made.frame = _frame(made)
    mask(made)
    return made


def halves(made):
    return [float(np.median(made.data[:, part])) for part in (slice(0, 32), slice(32, 64))]


def saturated(made):
    return [bool(made.flags[20, x] & Flag.SATURATED) for x in (11, 43)]


def test_without_anything_given_each_amplifier_has_its_own():
    made = bench()
    assert halves(made) == pytest.approx([4000.0, 5000.0])
    assert saturated(made) == [True, False]
    assert made.frame.known["gain"]["amplifiers"] == {"A": 4.0, "B": 5.0}


@pytest.mark.parametrize(
    ("how", "gain", "source"),
    [({"gain": 2.0}, 2.0, "given"), ({"cards": {"BUNIT": "electron"}}, 1.0, "BUNIT")],
)
def test_a_gain_that_is_given_is_that_of_all_amplifiers(how, gain, source):
    made = bench(**how)
    assert halves(made) == pytest.approx([1000.0 * gain] * 2)
    assert made.frame.known["gain"] == {"value": gain, "from": source}
    assert saturated(made) == [True, False]  # what was not given stays each one's own
    assert made.frame.known["read_noise"]["amplifiers"] == {"A": 6.0, "B": 8.0}


@pytest.mark.parametrize(("limit", "flagged"), [(50_000.0, False), (34_000.0, True)])
def test_a_saturation_that_is_given_is_that_of_all_amplifiers(limit, flagged):
    made = bench(saturation=limit)
    assert saturated(made) == [flagged, flagged]
    assert halves(made) == pytest.approx([4000.0, 5000.0])
