import numpy as np
import pytest

from firstlight.algorithms.light_curves.ensemble import (
    FieldPhotometry,
    NotEnoughComparisons,
    solve_ensemble,
)

N_STAR, N_FRAME = 150, 60
RADII = np.array([2.0, 3.0, 4.5])


def night(seed, n_star=N_STAR, n_frame=N_FRAME, signal=None, colours=False, floor=0.002):
    """A drifting field on an unflat detector, through airmass and passing haze."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0.0, 0.3, n_frame)
    airmass = 1.04 + 9.0 * (time - 0.11) ** 2
    drift = np.stack([250 * time / 0.3, 40 * np.sin(6 * time)], axis=1)
    place = rng.uniform([-120, 0], [650, 500], (n_star, 2))
    x, y = (place[:, None, :] + drift[None]).transpose(2, 0, 1)
    valid = (x > 5) & (x < 645) & (y > 5) & (y < 495)
    mag = rng.uniform(-14.0, -9.5, n_star)
    colour = rng.normal(0.0, 0.3, n_star)
    u, v = (x - 325) / 325, (y - 250) / 325
    level = mag[:, None] + 0.1 * airmass + 0.02 * np.sin(40 * time) ** 2
    level = level + 0.02 * u**2 - 0.015 * u**3 + 0.01 * u * v**2  # the flat that nobody took
    level = level + 0.004 * v * np.sin(20 * time)  # haze with a gradient
    level = level + 0.03 * colour[:, None] * (airmass - airmass.mean())
    if signal is not None:
        level = level + signal
    true = 10 ** (-0.4 * level)
    core = 1 - np.exp(-0.5 * (RADII / (1.3 + 0.2 * rng.random(n_frame)[:, None])) ** 2)
    error = np.sqrt(true[:, :, None] + np.pi * RADII**2 * 20.0**2)
    flux = true[:, :, None] * core + error * rng.standard_normal((n_star, n_frame, 3))
    flux *= 1 + floor * rng.standard_normal((n_star, n_frame, 1))
    return FieldPhotometry(
        flux=np.where(valid[:, :, None], flux, np.nan),
        flux_err=error,
        valid=np.repeat(valid[:, :, None], 3, axis=2),
        x=np.where(valid, x, np.nan),
        y=np.where(valid, y, np.nan),
        time=time,
        airmass=airmass,
        colour=colour if colours else None,
    )


def often(photometry):
    return photometry.valid[:, :, 0].mean(axis=1) > 0.8


def test_steady_stars_come_out_steady_with_honest_errors():
    photometry = night(0)
    result = solve_ensemble(photometry)
    kept = often(photometry)
    bright = kept & (result.mag < -12.5)
    assert np.median(result.scatter[bright]) < 0.0045
    pull = ((result.rel_flux - 1) / result.rel_flux_err)[kept]
    pull = pull[np.isfinite(pull)]
    assert np.std(np.clip(pull, -5, 5)) == pytest.approx(1.0, abs=0.12)
    low = ((result.rel_flux - 1) / result.rel_flux_err)[bright]
    assert np.nanstd(np.clip(low, -5, 5)) == pytest.approx(1.0, abs=0.2)


def test_points_that_were_not_measured_stay_empty():
    photometry = night(1)
    result = solve_ensemble(photometry)
    chosen = np.take_along_axis(photometry.valid, result.aperture[:, None, None], axis=2)[:, :, 0]
    assert not np.isfinite(result.rel_flux[~chosen]).any()
    assert np.isfinite(result.rel_flux[chosen]).mean() > 0.99


def test_no_star_has_a_part_in_its_own_ensemble():
    photometry = night(2, n_star=60)
    result = solve_ensemble(photometry)
    for k, star in enumerate(result.comparisons):
        assert result.weights[star, k] == 0
    np.testing.assert_allclose(result.weights.sum(axis=1), 1.0)
    # Half as bright again for one frame: it keeps all of that.
    star = next(int(i) for i in result.comparisons if photometry.valid[i, 30, 0])
    flux = photometry.flux.copy()
    flux[star, 30] *= 1.5
    changed = FieldPhotometry(**{**vars(photometry), "flux": flux})
    again = solve_ensemble(changed)
    ratio = again.rel_flux[star, 30] / result.rel_flux[star, 30]
    assert ratio == pytest.approx(1.5, rel=0.005)


@pytest.mark.parametrize("colours", [False, True])
def test_injected_transits_keep_their_depth(colours):
    recovered = []
    for seed in range(4):
        rng = np.random.default_rng(100 + seed)
        plain = night(seed, colours=colours)
        stars = rng.choice(np.flatnonzero(often(plain)), 12, replace=False)
        signal, boxes = np.zeros((N_STAR, N_FRAME)), {}
        for i in stars:
            centre, width = rng.uniform(0.06, 0.24), rng.uniform(0.04, 0.12)
            box = np.clip((width / 2 - np.abs(plain.time - centre)) / 0.012 + 0.5, 0, 1)
            boxes[i] = (rng.uniform(0.01, 0.03), box)
            signal[i] = -2.5 * np.log10(1 - boxes[i][0] * box)
        result = solve_ensemble(night(seed, signal=signal, colours=colours))
        for i in stars:
            depth, box = boxes[i]
            if result.expected[i] < depth / 2:
                recovered.append(_amplitude(result, i, -box) / depth)
    assert len(recovered) > 20
    assert np.mean(recovered) == pytest.approx(1.0, abs=0.05)


def test_injected_waves_keep_their_amplitude():
    recovered = []
    for seed in range(4):
        rng = np.random.default_rng(200 + seed)
        plain = night(seed)
        stars = rng.choice(np.flatnonzero(often(plain)), 12, replace=False)
        signal, waves = np.zeros((N_STAR, N_FRAME)), {}
        for i in stars:
            waves[i] = np.sin(2 * np.pi * (plain.time / rng.uniform(0.05, 0.25) + rng.random()))
            signal[i] = -2.5 * np.log10(1 + 0.02 * waves[i])
        result = solve_ensemble(night(seed, signal=signal))
        recovered += [
            _amplitude(result, i, waves[i]) / 0.02 for i in stars if result.expected[i] < 0.01
        ]
    assert len(recovered) > 20
    assert np.mean(recovered) == pytest.approx(1.0, abs=0.05)


def _amplitude(result, star, shape):
    good = np.isfinite(result.rel_flux[star])
    design = np.stack([np.ones(good.sum()), shape[good]], axis=1)
    weight = result.rel_flux_err[star, good] ** -2.0
    normal = design.T @ (weight[:, None] * design)
    base, amplitude = np.linalg.solve(normal, design.T @ (weight * result.rel_flux[star, good]))
    return amplitude / base


def test_the_order_of_the_stars_does_not_matter():
    photometry = night(3, n_star=80)
    result = solve_ensemble(photometry)
    order = np.random.default_rng(0).permutation(80)
    shuffled = {
        name: getattr(photometry, name)[order] for name in ("flux", "flux_err", "valid", "x", "y")
    }
    again = solve_ensemble(FieldPhotometry(**{**vars(photometry), **shuffled}))
    np.testing.assert_allclose(again.rel_flux, result.rel_flux[order], atol=1e-7)


def test_a_still_field_without_airmass_or_colour_is_no_trouble():
    photometry = night(4, n_star=12, n_frame=20)
    still = {
        "x": np.repeat(np.linspace(10, 600, 12)[:, None], 20, axis=1),
        "y": np.repeat(np.linspace(10, 400, 12)[:, None], 20, axis=1),
        "airmass": None,
        "flux": np.full((12, 20, 3), 1e5)
        * (1 + 0.002 * np.random.default_rng(0).standard_normal((12, 20, 3))),
        "flux_err": np.full((12, 20, 3), 300.0),
        "valid": np.ones((12, 20, 3), dtype=bool),
    }
    result = solve_ensemble(FieldPhotometry(**{**vars(photometry), **still}))
    assert result.nuisances == ()
    assert np.nanmax(np.abs(result.rel_flux - 1)) < 0.02


def test_too_few_stars_or_frames_are_said_so():
    photometry = night(5, n_star=40)
    few = {name: getattr(photometry, name)[:2] for name in ("flux", "flux_err", "valid", "x", "y")}
    with pytest.raises(NotEnoughComparisons):
        solve_ensemble(FieldPhotometry(**{**vars(photometry), **few}))
    with pytest.raises(NotEnoughComparisons):
        solve_ensemble(night(5, n_star=40, n_frame=4))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ["noise", "hardly anything", "two stars", "nothing"])
def test_a_frame_without_stars_has_no_values_and_changes_no_other(seed, kind):
    """Under clouds: nothing there tells how bright the frame is."""
    plain = night(seed, n_star=40)
    flux, valid, dark = plain.flux.copy(), plain.valid.copy(), 30
    dice = np.random.default_rng(seed)
    if kind == "noise":
        flux[:, dark] = dice.normal(0.0, 1.0, flux[:, dark].shape) * plain.flux_err[:, dark]
    elif kind == "hardly anything":
        flux[:, dark] = dice.choice([1e-300, 1e-12, 3.0], flux[:, dark].shape)
    else:
        there = np.flatnonzero(valid[:, dark, 0])
        valid[there[2 if kind == "two stars" else 0 :], dark] = False
    found = solve_ensemble(FieldPhotometry(**{**vars(plain), "flux": flux, "valid": valid}))
    assert not np.isfinite(found.rel_flux[:, dark]).any()
    valid[:, dark] = False
    without = solve_ensemble(FieldPhotometry(**{**vars(plain), "valid": valid}))
    np.testing.assert_array_equal(found.rel_flux, without.rel_flux)
    assert np.nanmedian(found.scatter[often(plain)]) < 0.02


def test_five_frames_of_which_one_shows_nothing_are_too_few():
    photometry = night(3, n_star=30, n_frame=5)
    photometry.valid[:, 2] = False
    with pytest.raises(NotEnoughComparisons, match="too few stars"):
        solve_ensemble(photometry)
