"""Artificial transients are found as their signal allows, and the image stays as it is."""

import uuid

import numpy as np
import pytest
from frames_of_a_field import Field

from firstlight.errors import InvalidInput
from firstlight.models.image import Image
from firstlight.models.psf import PSF
from firstlight.models.sources import SourceList
from firstlight.pipeline.build_reference import ReferenceBuilder
from firstlight.pipeline.fakes import FakeWish, inject_and_find
from firstlight.pipeline.settings import (
    FindChangesSettings,
    MeasureChangesSettings,
    SubtractSettings,
)
from firstlight.pipeline.step import ReferenceProducts, Workpiece
from firstlight.pipeline.steps.find_changes import FindChanges
from firstlight.pipeline.steps.fit_psf import FitPsf
from firstlight.pipeline.steps.measure_changes import MeasureChanges
from firstlight.pipeline.steps.subtract import Subtract

STEPS = (
    Subtract(SubtractSettings()),
    FindChanges(FindChangesSettings(), method="zogy"),
    MeasureChanges(MeasureChangesSettings()),
)


@pytest.fixture(scope="module")
def piece():
    """The first image against the mean of the other three."""
    field = Field()
    images = [field.image(number) for number in (1, 2, 3)]
    built = ReferenceBuilder(field.recipe, "weighted").build("field", images, 3)
    parts = {type(product): product for product in built.products}
    new = field.image(0)
    made = Workpiece(
        new.exposure, "A", image=new.image, sources=new.sources, wcs=new.wcs,
        zero_point=new.zero_point,
    )  # fmt: skip
    made.psf = FitPsf().run(made)
    made.psf.id = uuid.uuid4()
    built.reference.version = 1
    made.reference = ReferenceProducts(built.reference, parts[Image], parts[SourceList], parts[PSF])
    return made


@pytest.fixture(scope="module")
def many(piece):
    return [inject_and_find(piece, STEPS, FakeWish(40, 0.3, seed)) for seed in range(4)]


def column(many, name):
    return np.concatenate([np.asarray(fakes.table[name]) for fakes in many])


def test_bright_ones_are_found_and_faint_ones_are_not(many):
    snr = column(many, "flux") / np.nanmedian(column(many, "measured_err"))
    found = column(many, "found")
    assert found[snr > 8].mean() > 0.97
    assert found[snr < 3].mean() < 0.2
    assert not (column(many, "kept") & ~found).any()


def test_their_fluxes_are_measured_without_bias(many):
    found = column(many, "found")
    flux, measured, error = (column(many, n)[found] for n in ("flux", "measured", "measured_err"))
    bright = flux / error > 8
    pulls = (measured - flux)[bright] / error[bright]
    assert bright.sum() > 40
    assert abs(pulls.mean()) < 3.5 / np.sqrt(len(pulls))
    assert 0.7 < pulls.std() < 1.35
    for fakes in many:
        assert abs(fakes.bias) < 4 * fakes.bias_err


def test_forced_fluxes_are_right_down_to_nothing(many):
    flux, forced, error = (column(many, n) for n in ("flux", "forced", "forced_err"))
    assert np.isfinite(error).all()
    pulls = (forced - flux) / error
    faint = flux / error < 5
    assert faint.sum() > 15
    # Four sets lie in the noise of one small image: their mean is less certain than each alone.
    for some in (pulls[faint], pulls):
        assert abs(some.mean()) < 0.5
        assert 0.75 < some.std() < 1.3


def test_the_limit_is_where_half_are_found(many):
    mag, found = column(many, "mag"), column(many, "found")
    for fakes in many:
        assert fakes.found.limit == pytest.approx(np.median(mag[found]) + 1.5, abs=1.5)
    limit = np.mean([fakes.found.limit for fakes in many])
    near = np.abs(mag - limit) < 0.5
    assert 0.25 < found[near].mean() < 0.75
    told = many[0].summary()
    assert sum(each["fakes"] for each in told["bins"]) == many[0].table.rows
    assert told["limit_found"] == many[0].found.limit


def test_the_same_seed_gives_the_same_and_nothing_is_left_behind(piece, many):
    before = piece.image.data.copy()
    again = inject_and_find(piece, STEPS, FakeWish(40, 0.3, 2))
    for name in many[2].table:
        np.testing.assert_array_equal(again.table[name], many[2].table[name])
    np.testing.assert_array_equal(piece.image.data, before)
    assert piece.difference is None
    assert (again.table["x"] != many[1].table["x"][: again.table.rows]).any()


def test_they_keep_apart(many):
    for fakes in many:
        x, y = np.asarray(fakes.table["x"]), np.asarray(fakes.table["y"])
        apart = np.hypot(x[:, None] - x, y[:, None] - y)[~np.eye(len(x), dtype=bool)]
        assert apart.min() > 20


@pytest.mark.parametrize("wrong", [{"number": 0}, {"hosted": 1.5}])
def test_a_wish_must_make_sense(wrong):
    with pytest.raises(InvalidInput):
        FakeWish(**wrong)
