"""What the main job must show on a simulated night, number by number, against its truth."""

from __future__ import annotations

import numpy as np
import pytest
from reduced_night import ErringCatalog, isolated_stars, named_stars, reduce_night
from scipy.optimize import curve_fit

from firstlight.models.data_root import configure_data_roots
from firstlight.pipeline.settings import SolvePhotometrySettings
from firstlight.pipeline.steps.solve_photometry import SolvePhotometry
from firstlight.simulation import DetectorSettings, NightSettings, StarSettings

SMALL = NightSettings(
    seed=11,
    n_exposures=18,
    cadence=660,
    detector=DetectorSettings(rows=768, columns=768),
    stars=StarSettings(faintest=15.5),
)
WHOLE = NightSettings(seed=12, n_exposures=40)


@pytest.fixture(
    scope="module",
    params=[SMALL, pytest.param(WHOLE, marks=[pytest.mark.slow, pytest.mark.nightly])],
    ids=["small", "whole"],
)
def night(request, tmp_path_factory):
    yield reduce_night(request.param, tmp_path_factory.mktemp("night"))
    configure_data_roots(None)


@pytest.fixture(scope="module")
def stars(night):
    """Isolated stars of all images with a signal-to-noise ratio above 50, as columns."""
    parts = [isolated_stars(night, *key) for key in night.pieces]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    bright = columns["snr"] > 50
    assert bright.sum() > 800
    return {name: values[bright] for name, values in columns.items()}


def width(pulls):
    """Standard deviation of pulls; a handful of undisclosed neighbours must not decide it."""
    pulls = pulls[np.isfinite(pulls)]
    return np.std(pulls[np.abs(pulls - np.median(pulls)) < 6])


def test_calibrated_pixels_are_the_truth_within_their_noise(night):
    for (number, section), piece in night.pieces.items():
        image = piece.image
        off = image.data - night.truth.expected_electrons(number, section)
        pull = off / np.sqrt(image.variance)
        good = image.flags == 0
        assert good.mean() > 0.98
        assert np.mean(pull[good] ** 2) == pytest.approx(1.0, abs=0.02), (number, section)


def test_calibrated_pixels_have_no_gradient(night):
    slopes = []
    for (number, section), piece in night.pieces.items():
        image = piece.image
        off = image.data - night.truth.expected_electrons(number, section)
        good = image.flags == 0
        pull = np.where(good, off / np.sqrt(image.variance), 0.0)
        y, x = np.nonzero(good)
        design = np.column_stack([np.ones(len(x)), x / image.nx - 0.5, y / image.ny - 0.5])
        slopes.append(np.linalg.solve(design.T @ design, design.T @ pull[good]))
    slopes = np.array(slopes)
    # Across a whole frame, in sigma of one pixel; the rows' own levels have an error each.
    assert np.abs(slopes).max() < 0.05
    assert np.abs(slopes.mean(axis=0)).max() < 0.01


def test_zero_points(night):
    off = [
        piece.zero_point.zero_point - night.truth.zero_point(number, section)
        for (number, section), piece in night.pieces.items()
    ]
    assert np.abs(off).max() < 0.01
    assert abs(np.mean(off)) < 0.005


def test_errors_of_zero_points_are_honest(night):
    pulls = []
    for draw in range(4):
        step = SolvePhotometry(SolvePhotometrySettings(), catalog=ErringCatalog(draw))
        for (number, section), piece in night.pieces.items():
            found = step.run(piece)
            off = found.zero_point - night.truth.zero_point(number, section)
            pulls.append(off / found.zero_point_err)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.2)
    assert abs(np.mean(pulls)) < 0.6


def test_positions_have_no_bias_and_honest_errors(stars):
    for axis in ("x", "y"):
        off = stars[axis] - stars[f"true_{axis}"]
        assert np.std(off) < 0.05
        assert abs(np.mean(off)) < 4 * np.std(off) / np.sqrt(len(off))
        assert abs(np.mean(off)) < 0.003
        assert width(off / stars[f"{axis}_err"]) == pytest.approx(1.0, abs=0.1)


def test_solutions_hold_over_the_whole_frame(night):
    for (number, section), piece in night.pieces.items():
        image = piece.image
        y, x = np.mgrid[0 : image.ny : 32, 0 : image.nx : 32].reshape(2, -1)
        ra, dec = piece.wcs.projection.pixel_to_sky(x, y)
        true_x, true_y = night.truth.projection(number, section).sky_to_pixel(ra, dec)
        assert np.hypot(true_x - x, true_y - y).max() < 0.1


@pytest.mark.parametrize(("low", "high"), [(50, 100), (100, 200), (200, np.inf)])
def test_fluxes_are_unbiased(stars, low, high):
    chosen = (stars["snr"] >= low) & (stars["snr"] < high)
    ratio = (stars["flux"] / stars["true_flux"])[chosen]
    assert chosen.sum() > 100
    assert np.mean(ratio) == pytest.approx(1.0, abs=0.005)
    assert np.median(ratio) == pytest.approx(1.0, abs=0.005)


def test_errors_of_fluxes_are_honest(stars):
    pulls = (stars["flux"] - stars["true_flux"]) / stars["flux_err"]
    assert width(pulls) == pytest.approx(1.0, abs=0.1)


def test_calibrated_magnitudes_are_those_of_the_stars(night):
    for section, curves in night.curves.items():
        names = named_stars(night, section)
        true = np.array([night.truth.magnitudes(k) for k in range(len(night.truth.exposures))])
        bright = np.flatnonzero((names >= 0) & (night.truth.stars.magnitude[names] < 11.5))
        off = np.nanmedian(curves.mag[bright] - true[:, names[bright]].T, axis=1)
        assert abs(np.nanmedian(off)) < 0.01
        assert 1.4826 * np.nanmedian(np.abs(off - np.nanmedian(off))) < 0.015


def test_all_variables_are_found_and_hardly_any_others(night):
    variables = {variable.star: variable for variable in night.truth.variables}
    mjd = np.array([exposure.mid_mjd for exposure in night.truth.exposures])
    due, others = 0, 0
    for section, curves in night.curves.items():
        names = named_stars(night, section)
        found = curves.candidates.is_candidate
        for row, name in enumerate(names):
            if name not in variables:
                others += int(found[row])
                continue
            seen = np.isfinite(curves.ensemble.rel_flux[row])
            change = np.ptp(variables[name].flux(mjd)[seen])
            if change > 3 * curves.statistics.expected[row]:
                due += 1
                assert found[row], variables[name]
    assert due >= 0.8 * len(variables)
    assert others <= 5


def test_the_transit_is_measured(night):
    transit = night.truth.transit
    mjd = np.array([exposure.mid_mjd for exposure in night.truth.exposures])
    (section, row), *_ = [
        (section, int(row))
        for section in night.curves
        for row in np.flatnonzero(named_stars(night, section) == transit.star)
    ]
    solved = night.curves[section].ensemble
    good = np.isfinite(solved.rel_flux[row])

    def model(time, deep, late, level, slope):
        dip = transit.flux(time - late / 24) - 1
        return level * (1 + deep * dip) + slope * (time - mjd[0])

    fit, covariance = curve_fit(
        model,
        mjd[good],
        solved.rel_flux[row, good],
        p0=(1.0, 0.05, 1.0, 0.001),
        sigma=solved.rel_flux_err[row, good],
        absolute_sigma=True,
        epsfcn=1e-8,
    )
    deep_err, late_err = np.sqrt(np.diag(covariance))[:2]
    assert deep_err * transit.depth < 0.003
    assert late_err < 0.005 * 24
    assert abs(fit[0] - 1) < 3 * deep_err
    assert abs(fit[1]) < 3 * late_err
    middle = np.argmin(np.abs(mjd - transit.epoch))
    bjd = night.curves[section].bjd[row, middle] + transit.epoch - mjd[middle]
    assert bjd == pytest.approx(transit.epoch_bjd, abs=2e-6)


def test_errors_of_light_curves_are_honest(night):
    variables = {variable.star for variable in night.truth.variables}
    for section, curves in night.curves.items():
        steady = ~np.isin(named_stars(night, section), list(variables))
        flux, error = (
            part[steady] for part in (curves.ensemble.rel_flux, curves.ensemble.rel_flux_err)
        )
        seen = np.isfinite(flux).any(axis=1)
        pulls = (flux[seen] - np.nanmedian(flux[seen], axis=1, keepdims=True)) / error[seen]
        assert np.nanstd(pulls) == pytest.approx(1.0, abs=0.15)
