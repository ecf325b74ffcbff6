"""What a service gives: numbers, plots, a posterior, a model of the light curve."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from firstlight.analysis_kit.plain_values import plain

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Plot", "Results"]

_LIGHT_CURVE_COLUMNS = 4


@dataclass(frozen=True)
class Plot:
    """A picture.

    Attributes
    ----------
    data
        The bytes of the file.
    format
        ``png``, ``svg``, ``pdf``, ``jpeg``, ...
    title
        What is shown above it.
    """

    data: bytes
    format: str = "png"
    title: str = ""

    @classmethod
    def of(cls, figure: Any, *, format: str = "png", dpi: int = 120, title: str = "") -> Plot:  # noqa: A002, the word that everybody uses
        """Draw a matplotlib figure."""
        drawn = io.BytesIO()
        figure.savefig(drawn, format=format, dpi=dpi, bbox_inches="tight")
        return cls(drawn.getvalue(), format, title)

    def as_document(self) -> dict[str, str]:
        """As it is sent."""
        told = {"format": self.format, "data": _base64(self.data)}
        return {**told, "title": self.title} if self.title else told


@dataclass
class Results:
    """What came of a run.

    Attributes
    ----------
    message
        One sentence for the list of runs, as ``chi2/dof = 12.3/14``.
    results
        What is shown as a table: numbers, text, lists, arrays, dictionaries of these.
    plots
        `Plot`, or figures of matplotlib.
    posterior
        ``{parameter: samples}``, or ``{model: {parameter: samples}}``. Samples are arrays of
        one shape; a draw in which any parameter is not finite is left out.
    model_light_curves
        ``{filter: curve}``, or ``{model: {filter: curve}}``. A curve is an array (n, 4): MJD,
        median, low and high, in µJy (AB); rows that are not finite are left out.
    inference_data
        A netCDF file of ArviZ.
    annotations
        ``{"data": {...}, "origin": ...}`` each, to be put on the object.
    """

    message: str = ""
    results: dict[str, Any] = field(default_factory=dict)
    plots: Sequence[Any] = ()
    posterior: Mapping[str, Any] | None = None
    model_light_curves: Mapping[str, Any] | None = None
    inference_data: bytes | None = None
    annotations: Sequence[Mapping[str, Any]] = ()
    model_name: str = ""
    n_detections: int | None = None

    def as_document(self) -> dict[str, Any]:
        """The body that is sent back: plain JSON, in which no number is NaN or infinite.

        Raises
        ------
        TypeError, ValueError
            Something in it cannot be sent; the message says where it stands.
        """
        analysis: dict[str, Any] = {}
        if self.results:
            analysis["results"] = {"format": "json", "data": plain(self.results, "results")}
        if self.plots:
            analysis["plots"] = [_plot(each).as_document() for each in self.plots]
        if self.inference_data:
            analysis["inference_data"] = {
                "format": "netcdf4",
                "data": _base64(self.inference_data),
            }
        analysis |= _posteriors(self.posterior or {})
        analysis |= _light_curves(self.model_light_curves or {})
        if self.annotations:
            analysis["annotations"] = [_annotation(each) for each in self.annotations]
        if self.model_name:
            analysis["model_name"] = self.model_name
        if self.n_detections is not None:
            analysis["n_detections"] = int(self.n_detections)
        return {"status": "success", "message": str(self.message), "analysis": analysis}


def _plot(given: Any) -> Plot:
    if isinstance(given, Plot):
        return given
    if hasattr(given, "savefig"):
        return Plot.of(given)
    raise TypeError(f"plots: {type(given).__name__} is neither a Plot nor a figure")


def _posteriors(given: Mapping[str, Any]) -> dict[str, Any]:
    if not given:
        return {}
    if all(isinstance(each, Mapping) for each in given.values()):
        return {"posteriors": {name: _samples(each, name) for name, each in given.items()}}
    return {"posterior_samples": _samples(given, "posterior")}


def _samples(given: Mapping[str, Any], where: str) -> dict[str, list[float]]:
    import numpy as np  # noqa: PLC0415, loaded by whoever has samples

    columns = {name: np.asarray(each, dtype=np.float64).ravel() for name, each in given.items()}
    if len({len(each) for each in columns.values()}) != 1:
        raise ValueError(f"{where}: its parameters have different numbers of samples")
    good = np.logical_and.reduce([np.isfinite(each) for each in columns.values()])
    if not good.any():
        raise ValueError(f"{where}: no draw is finite in every parameter")
    return {name: each[good].tolist() for name, each in columns.items()}


def _light_curves(given: Mapping[str, Any]) -> dict[str, Any]:
    if not given:
        return {}
    if all(isinstance(each, Mapping) for each in given.values()):
        return {
            "model_lightcurves": {
                model: {band: _curve(curve, f"{model}, {band}") for band, curve in curves.items()}
                for model, curves in given.items()
            }
        }
    return {"model_lightcurve": {band: _curve(curve, band) for band, curve in given.items()}}


def _curve(given: Any, where: str) -> list[list[float]]:
    import numpy as np  # noqa: PLC0415, as above

    curve: np.ndarray = np.asarray(given, dtype=np.float64)
    if curve.ndim != 2 or curve.shape[1] != _LIGHT_CURVE_COLUMNS:
        raise ValueError(
            f"model light curve of {where}: shape {curve.shape} is not (n, 4): "
            "MJD, median, low, high"
        )
    found: list[list[float]] = curve[np.isfinite(curve).all(axis=1)].tolist()
    return found


def _annotation(given: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(given.get("data"), Mapping):
        raise TypeError("annotations: each is {'data': {...}}, and may have an 'origin'")
    told: dict[str, Any] = plain(dict(given), "annotations")
    return told


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
