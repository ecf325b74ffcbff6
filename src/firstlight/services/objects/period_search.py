"""Searching the period of an object: in a process of its own, so that no page waits for it."""

from __future__ import annotations

import hashlib
import uuid
from collections import OrderedDict
from dataclasses import asdict
from threading import BoundedSemaphore, Lock
from typing import Any

import numpy as np

from firstlight.algorithms.light_curves.period_search import FoundPeriod, Method, find_periods
from firstlight.errors import ConflictError, InternalError, InvalidInput
from firstlight.services.access import Viewer
from firstlight.services.objects.light_curve_plot import Curve, LightCurvePlots
from firstlight.work.engine import JsonValue, WorkerSetup
from firstlight.work.pool import ProcessPool

__all__ = ["PeriodSearch", "PeriodSearchBusy", "PeriodSearchFailed", "search_periods"]

_METHODS: dict[str, tuple[Method, ...]] = {
    "auto": ("sine", "box"),
    "sine": ("sine",),
    "box": ("box",),
}

_TIMEOUT_S = 20.0
_IN_LINE = 4
_MOST_POINTS = 20_000
_KEPT = 64
# What stands out of the noise.
_CHANCE = 0.01
_SIGNAL = 8.0
_HANDLER = "firstlight.services.objects.period_search:search_periods"


class PeriodSearchBusy(ConflictError):
    """Others are searching periods: try again in a moment."""

    code = "period_search.busy"


class PeriodSearchFailed(InternalError):
    """The search ended without an answer."""

    code = "period_search.failed"


class PeriodSearch:
    """Searches periods in one worker process, which is started when it is first needed.

    Whoever asks waits; at most four do at a time, each for at most 20 seconds of work. Answers
    are kept by the points they are made of.

    Parameters
    ----------
    plots
        Light curves.
    """

    def __init__(self, *, plots: LightCurvePlots) -> None:
        self._plots = plots
        self._pool = ProcessPool(
            1, WorkerSetup(preload=("firstlight.algorithms.light_curves.period_search",))
        )
        self._line = BoundedSemaphore(_IN_LINE)
        self._kept: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._lock = Lock()

    def find(self, viewer: Viewer, name: str, method: str = "auto") -> dict[str, Any]:
        """The periods of an object, from the points that the viewer sees.

        Parameters
        ----------
        method
            ``sine``, ``box``, or ``auto`` for both.

        Returns
        -------
        dict
            ``candidates`` (``period`` in days, ``epoch``, ``power``, ``false_alarm``, ``depth``,
            ``label``...), ``best`` of them or None with a ``message``, ``time`` of the epochs
            (``bjd`` or ``mjd``), ``points`` that there are and ``used``.

        Raises
        ------
        ObjectMissing
            There is no such object.
        PeriodSearchBusy
            There are too many in line.
        """
        if method not in _METHODS:
            known = ", ".join(_METHODS)
            raise InvalidInput(field="method", found=repr(method)[:50], expected=known)
        asked = _payload(self._plots.curve(viewer, name), method)
        mark = hashlib.blake2b(repr(asked).encode(), digest_size=16).hexdigest()
        with self._lock:
            if mark in self._kept:
                self._kept.move_to_end(mark)
                return self._kept[mark]
        answer = self._run(asked)
        with self._lock:
            self._kept[mark] = answer
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return answer

    def close(self) -> None:
        """End the worker."""
        self._pool.close()

    def _run(self, asked: dict[str, Any]) -> dict[str, Any]:
        if not asked["time"]:
            return _answer(asked, [])
        if not self._line.acquire(blocking=False):
            raise PeriodSearchBusy(hint="try again in some seconds")
        try:
            report = self._pool.run(_HANDLER, asked, key=uuid.uuid4().hex, timeout_s=_TIMEOUT_S)
        finally:
            self._line.release()
        if report.cause is not None or not isinstance(report.result, dict):
            raise PeriodSearchFailed(found=str(report.error)[:200])
        return report.result


def search_periods(payload: JsonValue, _services: object) -> JsonValue:
    """Search the periods of a payload of `PeriodSearch`: the work of the worker process."""
    assert isinstance(payload, dict)  # noqa: S101, as `PeriodSearch` gives it
    asked: dict[str, Any] = payload
    found: list[tuple[FoundPeriod, str]] = []
    for method in _METHODS[asked["method"]]:
        some = find_periods(
            asked["time"], asked["flux"], asked["flux_err"], asked["series"], method
        )
        found += [(each, method) for each in some]
    return _answer(asked, found)


def _payload(curve: Curve, method: str) -> dict[str, Any]:
    """The points to be searched: fluxes, or relative ones where there are more of these."""
    numbers = curve.numbers
    empty: dict[str, Any] = {"method": method, "scale": "mjd", "points": 0, "time": []}
    if not numbers:
        return empty
    pairs = [
        (numbers[name], numbers[error])
        for name, error in (("flux", "flux_err"), ("rel", "rel_err"))
    ]
    flux, error = max(pairs, key=lambda pair: int(np.isfinite(pair[0]).sum()))
    use_bjd = bool(np.isfinite(numbers["bjd"]).all())
    time = numbers["bjd" if use_bjd else "mjd"]
    fine = np.flatnonzero(np.isfinite(flux) & np.isfinite(error) & np.isfinite(time) & (error > 0))
    if len(fine) > _MOST_POINTS:
        # The same ones each time, and at times as uneven as before.
        fine = np.sort(np.random.default_rng(0).choice(fine, _MOST_POINTS, replace=False))
    return {
        "method": method,
        "scale": "bjd" if use_bjd else "mjd",
        "points": len(curve.ids),
        "time": time[fine].tolist(),
        "flux": flux[fine].tolist(),
        "flux_err": error[fine].tolist(),
        "series": curve.series[fine].tolist(),
    }


def _answer(asked: dict[str, Any], found: list[tuple[FoundPeriod, str]]) -> dict[str, Any]:
    good = [(each, method) for each, method in found if _stands_out(each)]
    best = max(good, key=lambda pair: pair[0].power, default=None)
    message = None
    if not found:
        message = "there are too few points for a search: eight of one filter and instrument"
    elif best is None:
        message = "no period stands out of the noise"
    return {
        "best": None if best is None else _told(*best),
        "candidates": [_told(each, method) for each, method in found],
        "message": message,
        "time": asked["scale"],
        "points": asked["points"],
        "used": len(asked["time"]),
    }


def _stands_out(each: FoundPeriod) -> bool:
    if each.false_alarm is not None:
        return each.false_alarm < _CHANCE
    return (each.signal or 0.0) >= _SIGNAL


def _told(each: FoundPeriod, method: str) -> dict[str, Any]:
    if each.false_alarm is None:
        sure = f"depth {each.depth:.2%}, {each.signal:.0f} σ"
    else:
        sure = f"false alarm {each.false_alarm:.1g}"
    return {**asdict(each), "method": method, "label": f"{each.period:.6g} d, {method}: {sure}"}
