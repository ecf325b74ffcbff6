"""The whole way from raw frames to a transit, with nothing chosen by hand.

HAT-P-32b, 20 December 2017, MicroObservatory: 71 frames of one minute every six minutes, no
calibration frames, hot pixels, a field that drifts by 270 pixels. The depth asked for is that of a
trapezoid's flat bottom: for a planet of 0.151 stellar radii before a limb-darkened F star it is
about 0.025, between the plain area ratio (0.023) and the loss at mid-transit (0.027).
"""

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.detector.static_level import static_level
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.light_curves.ensemble import FieldPhotometry, solve_ensemble
from firstlight.algorithms.light_curves.transit_shape import fit_trapezoid
from firstlight.algorithms.light_curves.variability import find_variables, light_curve_statistics
from firstlight.algorithms.plate.plate_solve import (
    PlateSolution,
    Prior,
    plate_solve,
    stars_from_arrays,
)
from firstlight.algorithms.sky.association import associate, unit_vectors
from firstlight.algorithms.sky.barycentre import airmass, bjd_tdb
from firstlight.algorithms.sky.projection import tangent_plane
from firstlight.algorithms.sources.aperture import aperture_fluxes
from firstlight.algorithms.sources.detect import find_sources

pytestmark = [pytest.mark.sample, pytest.mark.slow]

TARGET = (31.042833, 46.687833)
SITE = {"latitude": 31.68, "longitude": -110.88, "elevation": 1268.0}
GAIN = 20.0  # electrons per count, from the scatter of the stars
SATURATED = 3600.0
RADII = np.array([2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0])


class Night:
    """Every frame measured at the places of every star."""

    def __init__(self, folder):
        paths = sorted((folder / "hatp32_microobs").glob("*.FITS"))
        tycho = np.genfromtxt(folder / "tycho2_cutouts" / "hatp32.csv", delimiter=",", names=True)
        self.stars_near = stars_from_arrays(tycho["ra"], tycho["dec"], tycho["mag_vt"])
        frames, headers = [], []
        for path in paths:
            with fits.open(path) as hdus:
                frames.append(hdus[0].data.astype(np.float32))
                headers.append(hdus[0].header.copy())
        # The card is the start of the exposure.
        starts = Time([h["UT-OBS"].removesuffix("-0000") for h in headers], scale="utc")
        self.mjd = starts.mjd + 0.5 * float(headers[0]["EXPTIME"]) / 86400
        images = np.stack([frame - estimate_background(frame).level for frame in frames])
        images -= static_level(images)
        found = [self.find(i, h) for i, h in zip(images, headers, strict=True)]
        self.stars = associate(
            [unit_vectors(*f[0]) for f in found],
            radius=2 * np.sin(np.radians(6.5 / 3600) / 2),
            fewest_detections=len(frames) // 5,
        )
        places = self.register([f[1] for f in found])
        self.photometry = self.measure(images, frames, places)

    def find(self, image, header):
        sky = estimate_background(image)
        sources = find_sources(image, sky.median_rms**2, threshold=6.0).sources
        prior = Prior(ra=header["RA"], dec=header["DEC"], scale_low=4.9, scale_high=5.5)
        solved = plate_solve(
            sources.x_win, sources.y_win, sources.flux, image.shape, self.stars_near, prior=prior
        )
        assert isinstance(solved, PlateSolution), solved
        on_sky = solved.projection.pixel_to_sky(sources.x_win, sources.y_win)
        return on_sky, np.stack([sources.x_win, sources.y_win], axis=1)

    def register(self, pixels):
        """Places of all stars in each frame: a cubic from their mean sky positions."""
        x, y, z = self.stars.positions.T
        ra, dec = np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))
        self.ra, self.dec = ra, dec
        u, v = np.degrees(tangent_plane(ra, dec, *TARGET)) * 2
        design = np.stack([u**i * v**j for i in range(4) for j in range(4 - i)], axis=1)
        out = []
        for j, frame in enumerate(pixels):
            seen = np.flatnonzero(self.stars.members[:, j] >= 0)
            there = frame[self.stars.members[seen, j]]
            for _ in range(3):
                fit = np.linalg.lstsq(design[seen], there, rcond=None)[0]
                off = np.hypot(*(there - design[seen] @ fit).T)
                kept = off < max(4 * np.median(off), 0.05)
                seen, there = seen[kept], there[kept]
            inside = (u >= u[seen].min()) & (u <= u[seen].max())
            inside &= (v >= v[seen].min()) & (v <= v[seen].max())
            out.append(np.where(inside[:, None], design @ fit, np.nan))
        return np.stack(out, axis=1)

    def measure(self, images, frames, places):
        shape = (*places.shape[:2], len(RADII))
        flux, error, valid = np.zeros(shape), np.ones(shape), np.zeros(shape, dtype=bool)
        for j, (image, frame) in enumerate(zip(images, frames, strict=True)):
            flags = np.where(frame > SATURATED, Flag.SATURATED, 0).astype(np.uint16)
            sums = aperture_fluxes(
                image * np.float32(GAIN),
                places[:, j, 0],
                places[:, j, 1],
                RADII,
                variance=np.maximum(image, 0) * np.float32(GAIN) + np.float32((1.1 * GAIN) ** 2),
                flags=flags,
                annulus=(9.0, 16.0),
            )
            flux[:, j], error[:, j] = sums.flux, sums.error
            spoilt = (sums.flags & (Flag.SATURATED | Flag.EDGE)) != 0
            valid[:, j] = np.isfinite(sums.flux) & ~spoilt
        return FieldPhotometry(
            flux=np.nan_to_num(flux),
            flux_err=np.nan_to_num(error, nan=1.0),
            valid=valid,
            x=places[:, :, 0],
            y=places[:, :, 1],
            time=self.mjd,
            airmass=airmass(self.mjd, *TARGET, **SITE),
        )

    def target(self):
        away = np.hypot((self.ra - TARGET[0]) * np.cos(np.radians(TARGET[1])), self.dec - TARGET[1])
        assert away.min() * 3600 < 3.0
        return int(np.argmin(away))


@pytest.fixture(scope="module")
def night(samples):
    return Night(samples)


@pytest.fixture(scope="module")
def curves(night):
    return solve_ensemble(night.photometry)


def test_the_transit_is_there(night, curves):
    star = night.target()
    time = bjd_tdb(night.mjd, *TARGET, **SITE)
    for degree in (0, 1):
        fit = fit_trapezoid(
            time,
            curves.rel_flux[star],
            curves.rel_flux_err[star],
            (2458107.70, 0.11),
            baseline_degree=degree,
        )
        assert fit.depth == pytest.approx(0.025, abs=0.002)
        assert fit.mid_time == pytest.approx(2458107.714, abs=0.004)
        assert fit.scatter < 0.0045
    assert curves.trends.event_probability[star] > 0.99


def test_the_best_stars_are_steady(curves):
    often = np.isfinite(curves.rel_flux).mean(axis=1) >= 0.8
    assert often.sum() > 300
    best = np.sort(np.nanstd(curves.rel_flux[often], axis=1))[:20]
    assert best.mean() < 0.005


def test_errors_are_honest(curves):
    often = np.isfinite(curves.rel_flux).mean(axis=1) >= 0.8
    pull = ((curves.rel_flux - 1) / curves.rel_flux_err)[often & (curves.mag < -10.5)]
    pull = pull[np.isfinite(pull)]
    assert 1.4826 * np.median(np.abs(pull - np.median(pull))) == pytest.approx(1.0, abs=0.15)


def test_the_planet_host_is_a_candidate(night, curves):
    statistics = light_curve_statistics(curves.rel_flux, curves.rel_flux_err)
    found = find_variables(statistics, curves.mag, event_gain=curves.trends.event_gain)
    assert found.is_candidate[night.target()]
    assert found.is_candidate.mean() < 0.1


def test_injected_transits_keep_their_depth(night, curves):
    rng = np.random.default_rng(8)
    often = np.isfinite(curves.rel_flux).mean(axis=1) >= 0.9
    quiet = np.flatnonzero(often & (curves.expected < 0.012))
    recovered = []
    for _ in range(2):
        flux = night.photometry.flux.copy()
        phase = (night.mjd - night.mjd[0]) / (night.mjd[-1] - night.mjd[0])
        truth = {}
        for star in rng.choice(quiet, 12, replace=False):
            width, depth = rng.uniform(0.12, 0.4), rng.uniform(0.01, 0.03)
            centre = rng.uniform(width / 2, 1 - width / 2)
            box = np.clip((width / 2 - np.abs(phase - centre)) / 0.05 + 0.5, 0, 1)
            truth[star] = depth, box
            flux[star] *= (1 - depth * box)[:, None]
        again = solve_ensemble(FieldPhotometry(**{**vars(night.photometry), "flux": flux}))
        for star, (depth, box) in truth.items():
            before, after = curves.rel_flux[star], again.rel_flux[star]
            good = np.isfinite(before + after)
            # Against the star's own points without the injection: noise cancels.
            change = after[good] / before[good]
            design = np.stack([np.ones(good.sum()), -box[good]], axis=1)
            base, amplitude = np.linalg.lstsq(design, change, rcond=None)[0]
            recovered.append(amplitude / base / depth)
    assert np.mean(recovered) == pytest.approx(1.0, abs=0.05)
