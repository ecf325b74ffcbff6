"""Are the parameters unbiased and their errors true, and are real supernovae what they are?"""

from __future__ import annotations

import numpy as np
import pytest
import sncosmo
from supernova_world import brightness, light_curve, real

from firstlight.analysis_kit import Progress
from firstlight.analysis_kit.supernova import fit
from firstlight.analysis_kit.supernova_fitting import fit_template
from firstlight.analysis_kit.supernova_likelihood import RedshiftPrior, Scene
from firstlight.analysis_kit.supernova_photometry import Cuts, measurements
from firstlight.analysis_kit.supernova_templates import find_template

# MJD of B maximum: SN 1972E JD 2441446.1, SN 1980N 2444585.8, SN 1989B 2447565.3; in the last,
# much of the photometry is photographic or by eye, and it began about maximum.
_MAXIMA = {"SN1972E": (41445.6, 1.5), "SN1980N": (44585.3, 1.5), "SN1989B": (47564.8, 3.5)}


def _pulls(seed: int, *, fixed: bool) -> np.ndarray:
    """Of t0, x1 and c, for one supernova of a survey in four filters."""
    random = np.random.default_rng(seed)
    z = random.uniform(0.02, 0.1)
    x1, c = random.normal(0.0, 1.0), random.normal(0.0, 0.1) + random.exponential(0.07)
    magnitude = 17.0 + 5.0 * np.log10(z / 0.05) - 0.14 * x1 + 3.1 * c + random.normal(0.0, 0.1)
    truth = {
        "z": z,
        "t0": 59000.0 + random.uniform(),
        "x0": brightness(magnitude),
        "x1": x1,
        "c": c,
    }
    table = light_curve(
        truth,
        noise={"ztfg": 4.0, "ztfr": 4.0, "bessellb": 6.0, "besselli": 8.0},
        days=(-50.0, 90.0),
        points=int(random.integers(12, 30)),
        seed=seed,
    )
    seen = z if fixed else random.normal(z, 0.001)
    prior = (
        RedshiftPrior(z, z, z) if fixed else RedshiftPrior(seen - 0.006, seen + 0.006, seen, 0.001)
    )
    found = fit_template(find_template("fl-sn1a"), measurements(table, Cuts()), Scene(prior))
    errors = dict(zip(found.names, found.errors, strict=True))
    return np.array(
        [(found.value(name) - truth[name]) / errors[name] for name in ("t0", "x1", "c")]
    )


def _unbiased(pulls: np.ndarray) -> None:
    assert np.all(np.abs(pulls.mean(axis=0)) < 0.3)
    assert pulls.std(axis=0) == pytest.approx(1.0, abs=0.2)


@pytest.mark.slow
def test_a_hundred_type_ia_are_unbiased_and_their_errors_true():
    _unbiased(np.array([_pulls(seed, fixed=True) for seed in range(1000, 1100)]))


@pytest.mark.nightly
@pytest.mark.parametrize("fixed", [True, False])
def test_three_hundred_others_too(fixed):
    _unbiased(np.array([_pulls(seed, fixed=fixed) for seed in range(5000, 5300)]))


@pytest.mark.sample
@pytest.mark.slow
@pytest.mark.parametrize("name", _MAXIMA)
def test_real_type_ia_are_told_as_such_with_their_maximum(name, samples):
    result = fit(real(samples, name, {"source": "auto", "fix_z": True}), Progress())
    expected, tolerance = _MAXIMA[name]
    assert result.results["t_max_B"]["value"] == pytest.approx(expected, abs=tolerance)
    rows = result.results["comparison"]
    assert rows[0]["type"] == "Ia"
    assert all(row["delta_bic"] > 50.0 for row in rows[1:])


def test_sncosmos_own_fit_finds_the_same():
    truth = {"z": 0.05, "t0": 59000.0, "x0": brightness(17.5), "x1": 0.5, "c": 0.1}
    noise = dict.fromkeys(("bessellb", "bessellv", "bessellr"), 10.0)
    table = light_curve(truth, noise=noise, points=25, seed=3)
    template = find_template("fl-sn1a")
    prior = RedshiftPrior(0.05, 0.05, 0.05)
    ours = fit_template(template, measurements(table, Cuts()), Scene(prior))
    model = sncosmo.Model(template.source)
    model.set(**(truth | {"t0": 59003.0}))
    table.rename_columns(["mjd", "filter"], ["time", "band"])
    table["zp"], table["zpsys"] = 23.9, "ab"
    names = list(ours.names)
    theirs, _ = sncosmo.fit_lc(table, model, names, guess_t0=False, guess_amplitude=False)
    for name, error in zip(ours.names, ours.errors, strict=True):
        best = theirs.parameters[theirs.param_names.index(name)]
        assert ours.value(name) == pytest.approx(best, abs=0.1 * error)
        assert error == pytest.approx(theirs.errors[name], rel=0.1)
    assert ours.chi2 == pytest.approx(theirs.chisq, rel=0.01)
