"""A light curve as a picture, for the moment before a page's script draws it, or instead."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from firstlight.services.objects.light_curve_plot import Curve

__all__ = ["draw_light_curve"]

_WIDTH, _HEIGHT = 1000, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 12, 44
# Seen on dark and light alike: the page's colours are not known here.
_COLOURS = ("#3f8fd2", "#d9822b", "#3fa66b", "#c65b7c", "#8b78d6", "#7d8798", "#b59a2a", "#2fa3a3")
_GREY = "#7d8798"

Floats = NDArray[np.float64]


def draw_light_curve(curve: Curve) -> str:
    """SVG of a light curve against MJD: magnitudes where most points have one, else fluxes."""
    name, label = _quantity(curve)
    none = np.full(len(curve.ids), np.nan)
    x, y = curve.numbers.get("mjd", none), curve.numbers.get(name, none)
    good = np.isfinite(x) & np.isfinite(y)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'preserveAspectRatio="none" font-family="sans-serif" font-size="12" fill="{_GREY}">'
    )
    if not good.any():
        return head + "</svg>"
    start = float(np.floor(x[good].min())) if np.ptp(x[good]) < 30 else 0.0
    xs = _Scale(x[good] - start, _LEFT, _WIDTH - _RIGHT)
    ends = (_TOP, _HEIGHT - _BOTTOM) if name == "mag" else (_HEIGHT - _BOTTOM, _TOP)
    ys = _Scale(y[good], *ends)
    parts = [head, *_axes(xs, ys, f"MJD − {start:.0f}" if start else "MJD", label)]
    px, py = np.round(xs.place(x[good] - start)), np.round(ys.place(y[good]))
    inside = (py >= _TOP) & (py <= _HEIGHT - _BOTTOM)
    series = curve.series[good]
    for which in range(len(curve.names)):
        own = inside & (series == which)
        # Points on one pixel are drawn once, so that the picture is small however many there are.
        places = np.unique(np.stack([px[own], py[own]], axis=1).astype(int), axis=0)
        if len(places):
            path = "".join(f"M{a} {b}h0" for a, b in places.tolist())
            parts.append(
                f'<path d="{path}" stroke="{_COLOURS[which % len(_COLOURS)]}" '
                'stroke-width="4" stroke-linecap="round"/>'
            )
    return "".join([*parts, "</svg>"])


def _quantity(curve: Curve) -> tuple[str, str]:
    count = {
        name: int(np.isfinite(curve.numbers[name]).sum()) if name in curve.numbers else 0
        for name in ("mag", "rel", "flux")
    }
    if count["mag"] and count["mag"] >= count["rel"]:
        return "mag", "Magnitude (AB)"
    return ("rel", "Relative flux") if count["rel"] else ("flux", "Flux (µJy)")


class _Scale:
    """Values to places between two ends of the picture; a few wild values fall outside."""

    def __init__(self, values: Floats, begin: float, end: float) -> None:
        low, high = float(values.min()), float(values.max())
        if len(values) > 40:
            inner_low, inner_high = (float(each) for each in np.percentile(values, [1, 99]))
            room = 0.8 * (inner_high - inner_low) or 1e-3
            low, high = max(low, inner_low - room), min(high, inner_high + room)
        margin = 0.05 * (high - low) or 0.5
        self.low, self.high = low - margin, high + margin
        self._begin, self._end = begin, end

    def place(self, values: Floats) -> Floats:
        """Where values are, pixels."""
        share = (values - self.low) / (self.high - self.low)
        return np.asarray(self._begin + share * (self._end - self._begin))

    def ticks(self, count: int) -> Iterator[tuple[float, str]]:
        """Places and words of round values."""
        rough = (self.high - self.low) / count
        power = 10.0 ** np.floor(np.log10(rough))
        step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
        digits = max(0, int(-np.floor(np.log10(step))))
        for value in np.arange(np.ceil(self.low / step), self.high / step) * step:
            yield float(self.place(np.array([value]))[0]), f"{value:.{digits}f}"


def _axes(xs: _Scale, ys: _Scale, x_label: str, y_label: str) -> Iterator[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    yield f'<g stroke="{_GREY}" stroke-opacity=".3" fill="none"><path d="'
    yield f"M{_LEFT} {_TOP}H{right}V{bottom}H{_LEFT}Z"
    yield "".join(f"M{at:.0f} {_TOP}V{bottom}" for at, _ in xs.ticks(9))
    yield "".join(f"M{_LEFT} {at:.0f}H{right}" for at, _ in ys.ticks(6))
    yield '"/></g>'
    for at, words in xs.ticks(9):
        yield f'<text x="{at:.0f}" y="{bottom + 17}" text-anchor="middle">{words}</text>'
    for at, words in ys.ticks(6):
        yield f'<text x="{_LEFT - 7}" y="{at + 4:.0f}" text-anchor="end">{words}</text>'
    middle = (_LEFT + right) / 2
    yield f'<text x="{middle:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">{x_label}</text>'
    yield (
        f'<text transform="translate(15 {(_TOP + bottom) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{y_label}</text>'
    )
