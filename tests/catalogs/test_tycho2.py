import hashlib
import json
from importlib.resources import files

import numpy as np
import pytest

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.base import ReferenceCatalog
from firstlight.catalogs.tycho2 import Tycho2

DATA = files("firstlight.catalogs") / "data"


@pytest.fixture(scope="module")
def tycho2():
    return Tycho2()


@pytest.fixture(scope="module")
def everything(tycho2):
    return tycho2.everything()


def test_the_table_is_the_one_its_note_describes(tycho2):
    facts = json.loads((DATA / "tycho2.json").read_text())
    assert hashlib.sha256((DATA / "tycho2.npy").read_bytes()).hexdigest() == facts["sha256"]
    assert len(tycho2) == facts["stars"] == 1_871_011
    assert tycho2.release == f"tycho2-1-{facts['sha256'][:12]}"
    catalog: ReferenceCatalog = tycho2
    assert catalog.name == "tycho2"


@pytest.mark.parametrize(
    ("name", "ra", "dec", "vt"),
    [
        ("gamma Cas", 14.1772, 60.7167, 2.1),
        ("TYC 3281-800-1, HAT-P-32", 31.0428, 46.6878, 11.4),
    ],
)
def test_known_stars(tycho2, name, ra, dec, vt):
    stars = tycho2.cone(ra, dec, 3.0 / 3600)
    assert len(stars) == 1, name
    assert stars.mag[0] == pytest.approx(vt, abs=0.25), name


@pytest.mark.parametrize(
    ("ra", "dec", "radius"),
    [
        (0.0, 0.0, 2.0),
        (359.9, 45, 1.0),
        (10, 90, 1.5),
        (200, -89.5, 3.0),
        (83, -5, 15),
        (5, 5, 0.3),
    ],
)
def test_cone_is_all_and_only_the_stars_within(tycho2, everything, ra, dec, radius):
    all_ra, all_dec, all_mag = everything
    within = angular_separation(ra, dec, all_ra, all_dec) <= radius
    stars = tycho2.cone(ra, dec, radius)
    assert len(stars) == within.sum() > 0
    assert np.array_equal(stars.mag, np.sort(all_mag[within]))
    assert np.array_equal(np.sort(stars.ra), np.sort(all_ra[within]))
    bright = tycho2.cone(ra, dec, radius, faintest=11.0)
    assert len(bright) == (all_mag[within] <= 11.0).sum()


def test_empty_cone(tycho2):
    stars = tycho2.cone(31.0428, 46.70, 1.0 / 3600)
    assert len(stars) == 0
    assert len(stars.mag_err) == len(stars.position_err) == 0


def test_errors_grow_with_magnitude_and_epoch(tycho2):
    stars = tycho2.cone(31.0, 46.7, 3.0)
    assert np.all(np.diff(stars.mag_err) >= 0)
    at_8 = np.argmin(abs(stars.mag - 8.0))
    at_11 = np.argmin(abs(stars.mag - 11.5))
    assert stars.mag_err[at_8] == pytest.approx(0.02, abs=0.01)
    assert stars.mag_err[at_11] == pytest.approx(0.15, abs=0.02)
    later = tycho2.cone(31.0, 46.7, 3.0, epoch=2025.0)
    assert np.array_equal(later.ra, stars.ra)
    assert np.allclose(later.position_err**2 - stars.position_err**2, 0.2**2)
