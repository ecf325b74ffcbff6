"""Are the parameters unbiased and their errors true, and are real supernovae what they are?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sncosmo
from supernova_world import brightness, light_curve, real

from firstlight.analysis_kit import AnalysisFailed, Progress
from firstlight.analysis_kit.supernova import fit
from firstlight.analysis_kit.supernova_comparison import compare
from firstlight.analysis_kit.supernova_fitting import fit_template
from firstlight.analysis_kit.supernova_likelihood import RedshiftPrior, Scene
from firstlight.analysis_kit.supernova_photometry import Cuts, measurements
from firstlight.analysis_kit.supernova_sources import WarpedSource
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


@pytest.mark.sample
@pytest.mark.slow
def test_photoelectric_photometry_alone_gives_the_maximum_within_a_day(samples):
    inputs = real(samples, "SN1989B", {"source": "fl-sn1a", "fix_z": True}, error=None)
    told = fit(inputs, Progress()).results
    assert told["t_max_B"]["value"] == pytest.approx(_MAXIMA["SN1989B"][0], abs=1.0)
    assert told["extra_scatter"] < 0.06
    assert told["parameters"]["c"]["value"] == pytest.approx(0.45, abs=0.15), "it is a red one"


class _Scattering(WarpedSource):
    """A type Ia template that tells, as SALT does, how supernovae scatter about it."""

    def bandflux_rcov(self, band, phase):
        each = 0.05**2 * np.eye(len(phase))
        return each + 0.03**2 * (band[:, None] == band[None, :])


def test_a_templates_own_covariance_is_part_of_the_errors():
    truth = {"z": 0.05, "t0": 59000.0, "x0": brightness(15.0), "x1": 0.0, "c": 0.0}
    data = measurements(light_curve(truth, points=25, seed=5), Cuts())
    known = find_template("fl-sn1a")
    source = known.source
    phase, wave = source._phase, source._wave
    scattering = _Scattering(phase, wave, source.flux(phase, wave), name="scattering")
    scene = Scene(RedshiftPrior(0.05, 0.05, 0.05))
    plain = fit_template(known, data, scene)
    wide = fit_template(replace(known, source=scattering), data, scene)
    assert wide.chi2 < 0.5 * plain.chi2
    assert plain.errors[1] / plain.values[1] < 0.01
    assert wide.errors[1] / wide.values[1] > 0.02
    assert np.all(wide.errors > 2.0 * plain.errors)


def test_a_template_that_cannot_be_fitted_is_told_and_the_others_stand():
    truth = {"z": 0.05, "t0": 59000.0, "x0": brightness(17.5), "x1": 0.5, "c": 0.1}
    data = measurements(light_curve(truth), Cuts())
    known = find_template("fl-sn1a")
    waves = np.linspace(1000.0, 2000.0, 20)
    far = sncosmo.TimeSeriesSource(np.linspace(0.0, 50.0, 9), waves, np.ones((9, 20)), name="far")
    others = [replace(known, name="far", source=far), known]
    scene = Scene(RedshiftPrior(0.05, 0.05, 0.05))
    found = compare(others, data, scene, sampler="none", seed=1, progress=Progress())
    assert found.best.template.name == "fl-sn1a"
    assert "reaches none" in found.failed["far"]
    with pytest.raises(AnalysisFailed, match="reaches none"):
        compare(others[:1], data, scene, sampler="none", seed=1, progress=Progress())
