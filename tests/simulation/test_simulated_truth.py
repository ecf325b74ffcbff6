"""The truth is consistent with itself, with astropy and with the pixels."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.wcs import WCS
from given_stars import NOBODY_VARIES, GivenStars, crowd

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.errors import BadFile, BadSettings, MissingError
from firstlight.simulation import DetectorSettings, NightSettings, StarSettings, Truth
from firstlight.simulation.detector import Frame, FrameKind
from firstlight.simulation.optics import SECTIONS, Optics, Pointing

CLEAN = {
    "hot_fraction": 0.0,
    "dead_fraction": 0.0,
    "cosmic_rays": 0.0,
}


def lonely(settings: NightSettings, magnitude: float) -> Truth:
    """A night with one star, near the middle of section A."""
    at = Truth.draw(settings, GivenStars([], [], [])).projection(0, "A").pixel_to_sky(101.3, 120.6)
    return Truth.draw(settings, GivenStars([at[0]], [at[1]], [magnitude]))


@pytest.fixture(scope="module")
def quiet() -> NightSettings:
    return NightSettings(
        n_exposures=2,
        detector=DetectorSettings(rows=256, columns=256, **CLEAN),
        stars=StarSettings(faintest=5, **NOBODY_VARIES),
    )


@pytest.mark.parametrize("section", SECTIONS)
def test_header_is_the_truth_for_astropy(small_truth, section):
    header = fits.Header(small_truth.projection(3, section).to_header())
    wcs = WCS(header)
    x, y = small_truth.positions(3, section)
    inside = small_truth.inside(3, section)
    assert inside.sum() > 5
    sky = wcs.all_pix2world(x, y, 0)
    away = angular_separation(sky[0], sky[1], small_truth.stars.ra, small_truth.stars.dec)
    assert away[inside].max() * 3600 < 1e-5
    back = wcs.all_world2pix(
        small_truth.stars.ra[inside], small_truth.stars.dec[inside], 0, tolerance=1e-8
    )
    assert back[0] == pytest.approx(x[inside], abs=1e-5)
    assert back[1] == pytest.approx(y[inside], abs=1e-5)


def test_distortion_and_sections_have_the_size_that_was_set():
    settings = NightSettings(n_exposures=1, sky={"decentring": 0.0})
    truth = Truth.draw(settings, crowd(settings, 200))
    projection = truth.projection(0, "B")
    corner = np.array([1023.5]), np.array([1023.5])
    u, v = corner[0] - projection.crpix[0], corner[1] - projection.crpix[1]
    undistorted = WCS(
        fits.Header(
            {
                k: v.replace("-SIP", "") if isinstance(v, str) else v
                for k, v in projection.to_header().items()
                if not k.startswith(("A_", "B_", "AP_", "BP_"))
            }
        )
    )
    ra, dec = projection.pixel_to_sky(*corner)
    x, y = undistorted.all_world2pix(ra, dec, 0)
    assert np.hypot(x - corner[0], y - corner[1])[0] == pytest.approx(2.0, abs=0.01)
    assert np.hypot(u, v)[0] == pytest.approx(truth.optics.corner, abs=1)
    # One star, seen by both sections: the frames differ by the columns and the gap.
    xa, xb = truth.positions(0, "A")[0], truth.positions(0, "B")[0]
    assert xa - xb == pytest.approx(1024 + settings.detector.gap, abs=1e-6)


def test_decentring_is_browns():
    sky = {"distortion": 0.0, "decentring": 0.6}
    optics = Optics.from_settings(NightSettings(sky=sky))
    plane = optics.focal_plane(Pointing(10.0, 20.0, 0.0))
    straight = replace(plane, a=np.zeros((1, 1)), b=np.zeros((1, 1)))
    r = optics.corner
    u, v = np.array([r, 0.0, r / 2]), np.array([0.0, r, r / 2])
    to_u, to_v = straight.sky_to_pixel(*plane.pixel_to_sky(u, v))
    du, dv = to_u - u, to_v - v
    assert np.hypot(du, dv)[0] == pytest.approx(0.6, abs=1e-6)
    # Brown: along the direction of the tilt three times as much as across it.
    assert du[0] == pytest.approx(3 * du[1], abs=1e-6)
    assert dv[1] == pytest.approx(3 * dv[0], abs=1e-6)
    assert du[2] == pytest.approx(du[1] + dv[0] / 2, abs=1e-6)
    assert dv[2] == pytest.approx(dv[0] + du[1] / 2, abs=1e-6)


def test_sky_has_its_level_efficiency_and_gradient(quiet):
    truth = lonely(quiet, 9.0)
    now = truth.exposures[0]
    both = np.hstack([truth.expected_sky(0, s) / e for s, e in (("A", 1.0), ("B", 0.95))])
    assert both.mean() == pytest.approx(now.sky, rel=1e-6)
    corners = both[[0, 0, -1, -1], [0, -1, 0, -1]] / now.sky - 1
    assert np.hypot(*now.gradient) == pytest.approx(quiet.sky.gradient)
    u, v = np.array([-1, 1, -1, 1]) * 275.5, np.array([-1, -1, 1, 1]) * 127.5
    expected = (u * now.gradient[0] + v * now.gradient[1]) / truth.optics.corner
    assert corners == pytest.approx(expected, rel=1e-9)


def test_stars_grow_and_stretch_away_from_the_axis(quiet):
    truth = lonely(quiet, 9.0)
    x0, y0 = truth.optics.axis("A")
    away = truth.optics.corner
    x, y = x0 - np.array([0.0, away, away / 2]), np.full(3, y0)
    along, across, turned = truth.psf_matrix(0, "A", x, y)[:, [0, 2, 1]].T
    unit = 2 * np.sqrt(2 ** (1 / quiet.sky.moffat_beta) - 1)
    mean = unit / (along * across) ** 0.25
    fwhm = truth.exposures[0].fwhm
    assert mean == pytest.approx(fwhm * (1 + quiet.sky.field_blur * np.array([0, 1, 0.25])))
    assert np.sqrt(along / across) == pytest.approx([1, 0.95, 0.9875])
    assert turned == pytest.approx(0, abs=1e-12)


def test_one_star_has_its_flux_and_place(quiet):
    truth = lonely(quiet, 9.0)
    stars = truth.expected_stars(0, "A")
    flux = truth.electrons(0, "A")[0]
    assert stars.sum() == pytest.approx(flux, rel=1e-3)
    j, i = np.mgrid[:256, :256]
    x, y = truth.positions(0, "A")
    assert (x[0], y[0]) == pytest.approx((101.3, 120.6), abs=1e-6)
    near = np.hypot(i - x[0], j - y[0]) < 40
    assert (stars * near * i).sum() / (stars * near).sum() == pytest.approx(101.3, abs=0.005)
    assert (stars * near * j).sum() / (stars * near).sum() == pytest.approx(120.6, abs=0.005)


def test_zero_point_is_what_its_parts_make(quiet):
    truth = lonely(quiet, 9.0)
    sky, now = quiet.sky, truth.exposures[1]
    for section, efficiency in zip(SECTIONS, quiet.detector.efficiency, strict=True):
        found = truth.zero_point(1, section)
        parts = sky.zero_point + 2.5 * np.log10(quiet.exposure_time * efficiency)
        parts -= sky.extinction * now.airmass + now.absorption
        assert found == pytest.approx(parts, abs=0.002)
        flux = truth.electrons(1, section)[0]
        assert found - 2.5 * np.log10(flux) == pytest.approx(9.0, abs=0.002)
    no_air = quiet.model_copy(update={"sky": sky.model_copy(update={"extinction": 0.0})})
    exact = lonely(no_air, 9.0)
    electrons = 10 ** (0.4 * (exact.zero_point(1, "A") - 9.0))
    assert exact.electrons(1, "A")[0] == pytest.approx(electrons, rel=1e-12)


@pytest.mark.parametrize(("exposure", "section"), [(0, "A"), (5, "B")])
def test_calibrated_pixels_are_the_truth_within_their_noise(small_truth, exposure, section):
    detector = small_truth.detectors[section]
    bias = detector.bias(Frame(FrameKind.SCIENCE, exposure))[:, None] + detector.bias_pattern
    raw = small_truth.raw(exposure, section)[:, :256].astype(float)
    image = ((raw - bias) * detector.gain - detector.dark * 30.0) / detector.flat
    expected = small_truth.expected_electrons(exposure, section)
    in_pixel = expected * detector.flat + detector.dark * 30.0
    variance = in_pixel + detector.read_noise**2 + detector.gain**2 / 12
    ok = small_truth.flags(exposure, section) == 0
    assert ok.mean() > 0.99
    pulls = np.where(ok, (image - expected) * detector.flat / np.sqrt(variance), 0.0)
    assert (pulls[ok] ** 2).mean() == pytest.approx(1.0, abs=0.02)
    # No gradient: a plane fitted to the pulls is flat.
    place = np.linspace(-1, 1, 256)
    for slope in ((pulls * place[None, :]).mean(), (pulls * place[:, None]).mean(), pulls.mean()):
        assert slope == pytest.approx(0, abs=4 / 256)
    assert ((pulls * (expected > 2000))[ok] ** 2).sum() == pytest.approx(
        (expected > 2000)[ok].sum(), rel=0.25
    )


def test_flags_say_where_pixels_are_not_the_truth(quiet):
    bright = lonely(quiet, 4.0)
    flags, raw = bright.flags(0, "A"), bright.raw(0, "A")[:, :256]
    saturated = (flags & Flag.SATURATED) > 0
    assert saturated.sum() > 20
    assert (saturated != (raw == quiet.detector.saturation)).sum() <= 2
    bled = (flags & Flag.BLEED) > 0
    column = np.flatnonzero(bled.any(axis=0))
    assert np.abs(column - 101).max() < 8
    many = quiet.detector.model_copy(update={"cosmic_rays": 100.0, "hot_fraction": 0.01})
    truth = Truth.draw(quiet.model_copy(update={"detector": many}), GivenStars([], [], []))
    flags = truth.flags(0, "B")
    hit = (flags & Flag.COSMIC_RAY) > 0
    assert hit.sum() == (truth.cosmic_rays(0, "B") > 0).sum() > 300
    assert ((flags & Flag.BAD) > 0).mean() == pytest.approx(0.01, rel=0.3)


def test_sep_finds_the_stars_where_they_are():
    settings = NightSettings(n_exposures=1, detector=DetectorSettings(rows=512, columns=512))
    truth = Truth.draw(
        settings.model_copy(update={"stars": StarSettings(faintest=14, **NOBODY_VARIES)}), Tycho2()
    )
    detector = truth.detectors["A"]
    raw = truth.raw(0, "A").astype(float)
    image = (raw[:, :512] - raw[:, 512:].mean() - detector.bias_pattern) * detector.gain
    image = (image - detector.dark * 30.0) / detector.flat - truth.expected_sky(0, "A")
    x, y = truth.positions(0, "A")
    flux = truth.electrons(0, "A")
    sharp = truth.relative_error(0, "A") < 0.01
    usable = np.flatnonzero(truth.inside(0, "A", margin=20) & sharp & (flux < 2e5))
    gap = np.hypot(x[usable, None] - x[None, :], y[usable, None] - y[None, :])
    usable = usable[np.sort(gap, axis=1)[:, 1] > 18]
    assert len(usable) > 10
    found = sep.winpos(np.ascontiguousarray(image), x[usable], y[usable], np.full(len(usable), 1.3))
    assert np.median(np.hypot(found[0] - x[usable], found[1] - y[usable])) < 0.03
    measured, _, _ = sep.sum_circle(np.ascontiguousarray(image), x[usable], y[usable], 12.0)
    assert np.median(measured / flux[usable]) == pytest.approx(1, abs=0.005)


def test_counts_of_stars_rise_as_set():
    settings = NightSettings(n_exposures=1)
    stars = Truth.draw(settings, Tycho2()).stars
    counts = [(stars.magnitude < m).sum() for m in (11, 12, 13, 14, 15, 16)]
    slopes = np.diff(np.log10(counts))
    assert slopes == pytest.approx(0.3, abs=0.04)
    assert stars.magnitude[~stars.from_catalog].min() >= 11
    assert stars.magnitude.max() <= 16


def test_variables_vary_as_the_truth_says(small_truth):
    kinds = [v.kind for v in small_truth.variables]
    assert sorted(kinds) == ["eclipsing", "flare", "pulsator", "rr_lyrae", "transit"]
    assert len({v.star for v in small_truth.variables}) == 5
    for variable in small_truth.variables:
        mjd, magnitude = small_truth.light_curve(variable.star)
        change = -2.5 * np.log10(variable.flux(mjd))
        assert magnitude == pytest.approx(small_truth.stars.magnitude[variable.star] + change)
        for exposure in (0, 5):
            assert small_truth.magnitudes(exposure)[variable.star] == magnitude[exposure]
    still = np.setdiff1d(np.arange(len(small_truth.stars)), [v.star for v in small_truth.variables])
    assert (small_truth.magnitudes(2)[still] == small_truth.stars.magnitude[still]).all()


def test_transit_of_the_default_night():
    truth = Truth.draw(NightSettings(), Tycho2())
    transit = truth.transit
    assert transit is not None
    mjd, magnitude = truth.light_curve(transit.star)
    depth = 1 - 10 ** (-0.4 * (magnitude.max() - magnitude.min()))
    assert depth == pytest.approx(0.02, abs=1e-4)
    inside = np.abs(mjd - transit.epoch) < transit.duration / 2
    assert (magnitude[~inside] == magnitude.min()).all()
    assert (magnitude[inside] > magnitude.min()).all()
    assert inside.sum() == 20
    # TDB runs 69 s ahead of UTC; light time to the barycentre is below 8.4 minutes.
    assert 0 < transit.epoch_bjd - 2400000.5 - transit.epoch < 9.6 / 1440
    for variable in truth.variables:
        on = [s for s in SECTIONS if truth.inside(0, s)[variable.star]]
        assert len(on) == 1
        assert all(truth.inside(i, on[0])[variable.star] for i in range(40))
        _, curve = truth.light_curve(variable.star)
        error = 1.086 * truth.relative_error(20, on[0])[variable.star]
        assert np.ptp(curve) > 3 * error


def test_too_many_variables_are_refused(quiet):
    greedy = quiet.model_copy(update={"stars": StarSettings(flares=50)})
    with pytest.raises(BadSettings, match="fewer variables"):
        Truth.draw(greedy, crowd(greedy, 20))


def test_more_stars_than_memory_holds_are_refused(quiet):
    endless = quiet.model_copy(update={"stars": StarSettings(faintest=25, slope=0.6)})
    with pytest.raises(BadSettings, match="too many stars"):
        Truth.draw(endless, crowd(endless))


def test_scintillation_scatters_stars_apart(quiet):
    sky = quiet.sky.model_copy(update={"scintillation": True})
    still = Truth.draw(quiet, crowd(quiet, 300))
    moving = Truth.draw(quiet.model_copy(update={"sky": sky}), crowd(quiet, 300))
    ratio = moving.electrons(0, "A") / still.electrons(0, "A")
    assert 0.0005 < ratio.std() < 0.003
    assert ratio.mean() == pytest.approx(1, abs=0.001)


def test_field_at_the_pole_and_across_zero_hours(quiet):
    for place in (
        {"ra": 0.01, "dec": 20.0, "night": "2024-10-05"},
        {"ra": 100.0, "dec": 89.99, "latitude": 60.0, "night": "2024-12-05"},
    ):
        settings = NightSettings.model_validate({**quiet.model_dump(), **place})
        stars = StarSettings(faintest=13, **NOBODY_VARIES)
        truth = Truth.draw(settings.model_copy(update={"stars": stars}), Tycho2())
        assert truth.inside(0, "A").sum() + truth.inside(0, "B").sum() > 5
        x, y = truth.positions(1, "B")
        on = truth.inside(1, "B")
        ra, dec = truth.projection(1, "B").pixel_to_sky(x[on], y[on])
        away = angular_separation(ra, dec, truth.stars.ra[on], truth.stars.dec[on])
        assert away.max() * 3600 < 1e-5


def test_truth_survives_the_disk(small_truth, tmp_path):
    small_truth.save(tmp_path)
    again = Truth.load(tmp_path)
    assert again.settings == small_truth.settings
    assert again.exposures == small_truth.exposures
    assert again.variables == small_truth.variables
    assert (again.stars.ra == small_truth.stars.ra).all()
    assert (again.raw(2, "B") == small_truth.raw(2, "B")).all()


def test_photometry_table_lists_every_star_on_the_detector(small_truth):
    table = small_truth.photometry()
    one = (table["exposure"] == 4) & (table["section"] == "B")
    assert one.sum() == small_truth.inside(4, "B").sum()
    star = table["star"][one]
    assert (table["x"][one] == small_truth.positions(4, "B")[0][star]).all()
    assert (table["electrons"][one] == small_truth.electrons(4, "B")[star]).all()


def test_missing_and_damaged_truth(small_truth, tmp_path):
    with pytest.raises(MissingError):
        Truth.load(tmp_path)
    small_truth.save(tmp_path)
    path = tmp_path / "truth" / "truth.json"
    facts = json.loads(path.read_text())
    for broken in ("{", "[]", json.dumps({**facts, "version": 99}), json.dumps({"version": 1})):
        path.write_text(broken)
        with pytest.raises(BadFile):
            Truth.load(tmp_path)
    path.write_text(json.dumps({**facts, "settings": {"seed": -1}}))
    with pytest.raises(BadFile, match="seed"):
        Truth.load(tmp_path)
