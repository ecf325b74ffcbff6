"""What the analysis of one image answers, for people and for programs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from firstlight.errors import FirstlightError

__all__ = ["STEPS", "ImageAnalysisResult", "StepReport"]

STEPS = (
    "inspect",
    "mask",
    "cosmic_rays",
    "background",
    "sources",
    "plate_solve",
    "zero_point",
    "target",
    "limit",
)
"""The steps in their order."""


@dataclass
class StepReport:
    """How one step went.

    Attributes
    ----------
    state
        ``waiting``, ``running``, ``done``, ``failed`` or ``skipped``.
    facts
        What it found, JSON values.
    error
        `FirstlightError.as_dict` of what went wrong.
    """

    name: str
    state: str = "waiting"
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str | None] | None = None


@dataclass
class ImageAnalysisResult:
    """A calibrated magnitude, or why there is none.

    Attributes
    ----------
    name
        Of the image.
    ra, dec
        Of the target, ICRS degrees.
    magnitude, magnitude_err
        In `filter` and `system`; None for what is too faint. One sigma: noise, zero point,
        colour and the scatter of stars together.
    flux_ujy, flux_ujy_err
        Microjansky, of a target too faint for a magnitude too; None where the catalogue's band
        has no known AB offset.
    limit, limit_err
        Magnitude at which half of artificial stars all over the image are found.
    limit_at_target
        Five sigma of the sky's noise at the target.
    filter, system
        Those of the catalogue, which the magnitude is tied to.
    image_filter
        What the image was taken through.
    mjd
        Middle of the exposure, UTC.
    section
        Which part of the file it is; None where there is only one.
    method
        ``psf`` or ``aperture``.
    measurements
        Both, by method: flux (electrons), magnitude, and what their errors are made of.
    flags
        Names of `flags.Flag` of the pixels under the target, and ``not_detected``, ``blended``,
        ``recentred``, ``no_colour``.
    notes
        What a person should know, one sentence each.
    """

    name: str
    ra: float
    dec: float
    magnitude: float | None = None
    magnitude_err: float | None = None
    flux_ujy: float | None = None
    flux_ujy_err: float | None = None
    limit: float | None = None
    limit_err: float | None = None
    limit_at_target: float | None = None
    filter: str | None = None
    system: str | None = None
    image_filter: str | None = None
    mjd: float | None = None
    exp_time: float | None = None
    instrument: str | None = None
    catalog: str | None = None
    section: str | None = None
    method: str | None = None
    measurements: dict[str, dict[str, Any]] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    steps: list[StepReport] = field(default_factory=lambda: [StepReport(n) for n in STEPS])
    fault: FirstlightError | None = None

    @property
    def state(self) -> str:
        """``done`` where the target was measured, else ``failed``."""
        return "done" if self.step("target").state == "done" else "failed"

    def step(self, name: str) -> StepReport:
        """The report of one step."""
        return next(report for report in self.steps if report.name == name)

    def fail(self, name: str, fault: FirstlightError) -> None:
        """Record what ended a step; the first fault is the result's."""
        report = self.step(name)
        report.state, report.error = "failed", fault.as_dict()
        self.fault = self.fault or fault

    def raise_if_failed(self) -> None:
        """Raise the fault of the first step that failed, if the target was not measured."""
        if self.state == "failed" and self.fault is not None:
            raise self.fault

    def as_dict(self) -> dict[str, Any]:
        """JSON values; what is not a number is None."""
        told = {name: value for name, value in vars(self).items() if name not in ("fault", "steps")}
        error = None if self.fault is None else self.fault.as_dict()
        steps = [asdict(report) for report in self.steps]
        plain: dict[str, Any] = _plain(
            {"state": self.state, **told, "error": error, "steps": steps}
        )
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
