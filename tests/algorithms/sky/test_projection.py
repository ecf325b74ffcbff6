import numpy as np
import pytest
from astropy.io.fits import Header
from astropy.wcs import WCS

from firstlight.algorithms.sky.projection import Projection, from_tangent_plane, tangent_plane
from firstlight.algorithms.sky.sky_index import angular_separation

SHAPE = (500, 650)


def projection(ra, dec, *, distorted=True, mirrored=False, scale=5.0):
    turn = np.radians(37.0)
    cd = scale / 3600 * np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if mirrored:
        cd[:, 0] *= -1
    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    a[2, 0], a[1, 1], a[0, 3], a[3, 0] = 2e-6, -3e-6, 1e-9, 4e-9
    b[0, 2], b[1, 1], b[2, 1] = -1.5e-6, 2e-6, 3e-9
    plain = Projection((ra, dec), (330.2, 240.7), cd)
    if not distorted:
        return plain
    return Projection(plain.crval, plain.crpix, cd, a, b).with_inverse(SHAPE)


def grid():
    return (g.ravel() for g in np.meshgrid(np.linspace(-20, 670, 15), np.linspace(-20, 520, 13)))


@pytest.mark.parametrize("distorted", [True, False])
@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize("place", [(0.01, 0.0), (359.99, 60.0), (123.0, 89.97), (200.0, -90.0)])
def test_agrees_with_astropy_both_ways(place, mirrored, distorted):
    ours = projection(*place, mirrored=mirrored, distorted=distorted)
    theirs = WCS(Header(ours.to_header()))
    x, y = grid()
    ra, dec = ours.pixel_to_sky(x, y)
    their_ra, their_dec = theirs.all_pix2world(x, y, 0)
    assert np.max(angular_separation(ra, dec, their_ra, their_dec)) * 3600 / 5 < 1e-6
    assert np.all((ra >= 0) & (ra < 360))
    back_x, back_y = ours.sky_to_pixel(their_ra, their_dec)
    assert np.max(np.hypot(back_x - x, back_y - y)) < 1e-6
    their_x, their_y = theirs.all_world2pix(ra, dec, 0, tolerance=1e-9)
    assert np.max(np.hypot(their_x - back_x, their_y - back_y)) < 1e-6


def test_inverse_cards_are_good_to_a_hundredth_of_a_pixel():
    ours = projection(10, 20)
    theirs = WCS(Header(ours.to_header()))
    x, y = grid()
    ra, dec = ours.pixel_to_sky(x, y)
    u, v = np.subtract(theirs.wcs_world2pix(ra, dec, 0), np.reshape(ours.crpix, (2, 1)))
    back_u = u + np.polynomial.polynomial.polyval2d(u, v, theirs.sip.ap)
    back_v = v + np.polynomial.polynomial.polyval2d(u, v, theirs.sip.bp)
    assert np.max(np.hypot(back_u + ours.crpix[0] - x, back_v + ours.crpix[1] - y)) < 0.01
    assert np.max(np.hypot(u + ours.crpix[0] - x, v + ours.crpix[1] - y)) > 0.5


@pytest.mark.parametrize(("mirrored", "parity"), [(False, 1), (True, -1)])
def test_scale_parity_rotation(mirrored, parity):
    ours = projection(10, 20, mirrored=mirrored)
    assert ours.pixel_scale == pytest.approx(5.0)
    assert ours.parity == parity
    assert ours.rotation == pytest.approx(37.0)
    assert ours.order == 3


def test_footprint_is_the_outer_corners():
    ours = projection(10, 20)
    x, y = ours.sky_to_pixel(*ours.footprint(SHAPE))
    assert x == pytest.approx([-0.5, 649.5, 649.5, -0.5], abs=1e-6)
    assert y == pytest.approx([-0.5, -0.5, 499.5, 499.5], abs=1e-6)


def test_the_other_side_of_the_sky_is_nan():
    ours = projection(10, 20)
    x, y = ours.sky_to_pixel([190.0, 10.0], [-20.0, 20.0])
    assert np.isnan([x[0], y[0]]).all()
    assert (x[1], y[1]) == pytest.approx(ours.crpix)


def test_tangent_plane_round_trip_at_the_pole():
    rng = np.random.default_rng(3)
    xi, eta = rng.normal(0, 5, (2, 100))
    ra, dec = from_tangent_plane(xi, eta, 77.0, 90.0)
    back = tangent_plane(ra, dec, 77.0, 90.0)
    assert np.allclose(back, (xi, eta), atol=1e-10)


@pytest.mark.parametrize("kind", ["cd", "pc", "crota"])
def test_cards_of_other_programs_are_read_as_astropy_does(kind):
    cards = projection(10, 20, distorted=kind == "cd").to_header()
    if kind != "cd":
        for name in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
            del cards[name]
        cards |= {"CDELT1": -1e-3, "CDELT2": 1.2e-3}
    if kind == "pc":
        cards |= {"PC1_1": 0.9, "PC1_2": 0.3, "PC2_1": -0.3, "PC2_2": 0.9}
    if kind == "crota":
        cards |= {"CROTA2": 25.0}
    x, y = grid()
    ours = Projection.from_header(Header(cards)).pixel_to_sky(x, y)
    theirs = WCS(Header(cards)).all_pix2world(x, y, 0)
    assert np.max(angular_separation(*ours, *theirs)) < 1e-9
