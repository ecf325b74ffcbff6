"""An analysis service in one file: it tells when an object was brightest, and how bright.

Try it on a file, then serve it:

    firstlight analysis try examples/analysis_service.py --photometry lc.csv
    firstlight analysis serve examples/analysis_service.py

The tutorial "Write an analysis service" goes through it step by step.
"""

import numpy as np
from matplotlib.figure import Figure

from firstlight.analysis_kit import AnalysisFailed, Inputs, Progress, Results, ServiceDeclaration

SERVICE = ServiceDeclaration(
    name="peak",
    display_name="Time and brightness of maximum",
    description="Fits a parabola to the magnitudes about maximum, filter by filter.",
    version="1.0",
    analysis_type="lightcurve_fitting",
    input_data_types=("photometry",),
    parameters={
        "days": {
            "type": "number",
            "default": 15,
            "minimum": 1,
            "maximum": 100,
            "title": "Days about maximum",
            "description": "Points further from the brightest one are left out.",
        },
    },
    timeout=60,
)


def fit(inputs: Inputs, progress: Progress) -> Results:
    """Fit each filter that has enough points."""
    points = inputs.photometry
    found, draws, curves = {}, {}, {}
    figure = Figure(figsize=(7, 4.5))
    axes = figure.subplots()
    bands = sorted(set(points["filter"]))
    for number, band in enumerate(bands):
        progress(number / len(bands), f"fitting {band}")
        seen = points[(points["filter"] == band) & np.isfinite(points["mag"])]
        axes.errorbar(seen["mjd"], seen["mag"], seen["magerr"], fmt="o", label=band)
        if len(seen) == 0:
            continue
        brightest = seen["mjd"][np.argmin(seen["mag"])]
        near = seen[np.abs(seen["mjd"] - brightest) < inputs.parameters["days"]]
        if len(near) < 4:
            continue
        times, peak = parabola(near["mjd"], near["mag"], near["magerr"])
        found[band] = {"mjd": peak["mjd"].mean(), "mag": peak["mag"].mean(), "n": len(near)}
        draws |= {f"{name} {band}": each for name, each in peak.items() if name != "curve"}
        low, median, high = np.percentile(peak["curve"], [16, 50, 84], axis=0)
        axes.plot(times, median, color="0.5")
        # Curves are sent in microjansky; the brighter edge is the higher one.
        curves[band] = np.column_stack([times, flux(median), flux(high), flux(low)])
    if not found:
        raise AnalysisFailed(
            "no filter has four points about its maximum", hint="take more days about maximum"
        )
    axes.invert_yaxis()
    axes.set(xlabel="MJD", ylabel="AB magnitude", title=inputs.object_name)
    axes.legend()
    band, best = min(found.items(), key=lambda each: each[1]["mag"])
    return Results(
        message=f"brightest in {band}: {best['mag']:.2f} mag on MJD {best['mjd']:.2f}",
        results=found,
        plots=[figure],
        posterior=draws,
        model_light_curves=curves,
        model_name="parabola",
        n_detections=int(np.isfinite(points["mag"]).sum()),
    )


def parabola(mjd, mag, error):
    """A thousand parabolas as probable as the errors allow: their peaks, and their curves."""
    centre = mjd.mean()
    best, covariance = np.polyfit(mjd - centre, mag, 2, w=1 / error, cov="unscaled")
    if best[0] <= 0:
        raise AnalysisFailed("the points about the brightest one do not show a maximum")
    many = np.random.default_rng(1).multivariate_normal(best, covariance, 1000)
    many = many[many[:, 0] > 0]
    a, b, c = many.T
    times = np.linspace(mjd.min(), mjd.max(), 50)
    curve = np.array([np.polyval(each, times - centre) for each in many])
    return times, {"mjd": centre - b / (2 * a), "mag": c - b**2 / (4 * a), "curve": curve}


def flux(mag):
    """AB magnitudes in microjansky."""
    return 10 ** (-0.4 * (mag - 23.9))
