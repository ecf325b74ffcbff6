"""The period finder and the transit fit on real light curves of known answer."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from simulated_curves import inputs_of

from firstlight.analysis_kit import Progress
from firstlight.analysis_kit.period import fit as find_period
from firstlight.analysis_kit.transit import fit as fit_transit

pytest.importorskip("emcee", reason="of the extra firstlight[analysis]")
pytestmark = [pytest.mark.sample, pytest.mark.slow]

KEPLER = "lightcurves/kplr010666592-2009131110544_slc.fits"


def hat_p_7(samples, **parameters):
    with fits.open(samples / KEPLER) as hdus:
        rows = hdus[1].data
        time, flux, error = (
            np.array(rows[name], float) for name in ("TIME", "PDCSAP_FLUX", "PDCSAP_FLUX_ERR")
        )
        good = np.isfinite(time) & np.isfinite(flux) & (rows["SAP_QUALITY"] == 0)
    return inputs_of(
        time[good] + 54832.5, flux[good], error[good], "kepler",
        ra=292.2472, dec=47.9695, parameters={"barycentric": False, **parameters},
    )  # fmt: skip


def test_the_period_of_hat_p_7(samples):
    told = find_period(hat_p_7(samples), Progress()).results
    assert told["method"] == "bls"
    assert told["period"] == pytest.approx(2.2047, abs=0.0005)
    assert abs(told["period"] - 2.204735) < 4 * told["period_error"]
    assert told["eclipses_seen"] >= 4


def test_the_planet_of_hat_p_7(samples):
    inputs = hat_p_7(samples, period=2.204735, exposure=60.0, steps=500)
    told = fit_transit(inputs, Progress()).results
    # Esteves et al. (2015, ApJ 804, 150): 0.0775 and 4.15. Ten days of noise as red as that of
    # the star leave more than the formal errors.
    assert told["rp_rs"] == pytest.approx(0.0775, abs=0.0007)
    assert told["a_rs"] == pytest.approx(4.15, abs=0.12)
    assert told["transits_used"] >= 4


def test_a_spotless_eclipse_of_tess(samples):
    path = next((samples / "lightcurves").glob("hlsp_cdips_tess*llc.fits"))
    with fits.open(path) as hdus:
        rows = hdus[1].data
        time, mag, error = (np.array(rows[n], float) for n in ("TMID_BJD", "PCA1", "IRE1"))
    good = np.isfinite(time) & np.isfinite(mag) & np.isfinite(error)
    flux = 10 ** (-0.4 * (mag[good] - 23.9))
    inputs = inputs_of(
        time[good] - 2400000.5, flux, flux * error[good] / 1.0857, "tess",
        parameters={"barycentric": False},
    )  # fmt: skip
    told = find_period(inputs, Progress()).results
    assert told["method"] == "bls"
    assert told["period"] == pytest.approx(3.495, abs=0.01)
    assert told["depth"] == pytest.approx(0.0115, abs=0.001)


@pytest.mark.nightly
def test_the_transit_of_the_main_job(samples, tmp_path):
    """From raw frames to a planet: HAT-P-32b, by the commands alone."""

    def run(*words):
        command = [sys.executable, "-m", "firstlight", *map(str, words)]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)

    run("init", "night")
    run("-w", "night", "ingest", *sorted((samples / "hatp32_microobs").glob("*.FITS")))
    run("-w", "night", "reduce")
    run("-w", "night", "lightcurve", "02:04:10.28 +46:41:16.2", "--csv", "hat.csv")
    rows = np.genfromtxt(tmp_path / "hat.csv", delimiter=",", names=True, dtype=None)
    scale = np.nanmedian(rows["flux_ujy"])
    inputs = inputs_of(
        rows["mjd"], scale * rows["rel_flux"], scale * rows["rel_flux_err"], "Clear",
        ra=31.0428, dec=46.6878,
    )  # fmt: skip
    told = fit_transit(inputs, Progress()).results
    # Hartman et al. (2011, ApJ 742, 59): 0.1508, and 3.11 h; the ephemeris gives the mid-time.
    assert abs(told["rp_rs"] - 0.1508) < 2 * told["rp_rs_error"]
    assert abs(told["area_ratio"] - 0.0227) < 2 * told["area_ratio_error"]
    assert abs(24 * told["duration"] - 3.11) < 3 * 24 * told["duration_error"]
    turns = (told["t0"] + 2400000.5 - 2454420.44637) / 2.150008
    assert abs(turns - round(turns)) * 2.150008 < max(3 * told["t0_error"], 0.002)
    assert told["rp_rs_error"] < 0.008
