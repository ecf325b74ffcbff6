"""The measurements that a supernova fit uses, and why it does not use the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.supernova_bandpasses import Passband, passband

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Cuts", "Measurements", "measurements"]

_ZERO_POINT = 23.9
_LIMIT_SIGMAS = 5.0  # what a limiting magnitude stands for where no error comes with it
_MAGNITUDES = 2.5 / np.log(10.0)
DETECTION = 3.0
"""Signal-to-noise ratio from which a measurement counts as a detection."""


@dataclass(frozen=True)
class Cuts:
    """Which measurements are wanted.

    Attributes
    ----------
    snr_min
        Least signal-to-noise ratio; None keeps all, faint and negative ones too.
    first, last
        MJD, or None.
    error_where_none
        mag, for detections that came without an error; None leaves them out.
    """

    snr_min: float | None = None
    first: float | None = None
    last: float | None = None
    error_where_none: float | None = None


@dataclass(frozen=True)
class Measurements:
    """Measurements through passbands that are known, sorted by time.

    Attributes
    ----------
    mjd
        Days, shape (n,).
    flux, error
        µJy (AB), shape (n,), one sigma. Of a limit, `flux` is the limit.
    is_limit
        Shape (n,): of these it is only known that the flux is below `flux`, to within `error`.
    band
        Index into `bands`, shape (n,).
    bands
        By wavelength.
    row
        Where each stood in the table, shape (n,).
    left_out
        How many were left out, by reason.
    """

    mjd: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    is_limit: np.ndarray
    band: np.ndarray
    bands: tuple[Passband, ...]
    row: np.ndarray
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.mjd)

    @property
    def is_detection(self) -> np.ndarray:
        """Shape (n,): measured at three sigma or more."""
        return ~self.is_limit & (self.flux >= DETECTION * self.error)

    @property
    def number_measured(self) -> int:
        """How many are no limits."""
        return int(np.count_nonzero(~self.is_limit))

    def of(self, chosen: np.ndarray, reason: str = "") -> Measurements:
        """Those that are chosen by a mask; the others are left out for `reason`."""
        dropped = int(np.count_nonzero(~chosen))
        left_out = dict(self.left_out)
        if reason and dropped:
            left_out[reason] = left_out.get(reason, 0) + dropped
        kept = np.unique(self.band[chosen])
        renumbered = np.searchsorted(kept, self.band[chosen])
        return replace(
            self,
            mjd=self.mjd[chosen],
            flux=self.flux[chosen],
            error=self.error[chosen],
            is_limit=self.is_limit[chosen],
            band=renumbered,
            row=self.row[chosen],
            bands=tuple(self.bands[index] for index in kept),
            left_out=left_out,
        )


def measurements(table: Table | None, cuts: Cuts) -> Measurements:
    """What can be used of a light curve.

    A measured flux is used as it is, also where it is negative or lost in the noise: it says how
    bright the supernova was not. Where there is only a limit, the likelihood is that of a flux
    below it. A limit without an error counts as one of five sigma.

    Parameters
    ----------
    table
        As `Inputs.photometry`.
    cuts
        What is wanted of it.

    Raises
    ------
    AnalysisFailed
        There is nothing left; the message says why.
    """
    if table is None or len(table) == 0:
        raise AnalysisFailed(
            "the object has no photometry", hint="add photometry, or change the input filters"
        )
    columns = _columns(table, cuts.error_where_none)
    passbands = {name: passband(name) for name in sorted(set(columns["filter"]))}
    reasons = _reasons(columns, passbands, cuts)
    good = reasons == ""
    if not good.any():
        raise AnalysisFailed(*_nothing_left(reasons, columns))
    bands = sorted(
        (each for name, each in passbands.items() if each and name in columns["filter"][good]),
        key=lambda each: each.mean_wave,
    )
    index = {each.name: number for number, each in enumerate(bands)}
    order = np.argsort(columns["mjd"][good], kind="stable")
    taken = {name: values[good][order] for name, values in columns.items()}
    return Measurements(
        mjd=taken["mjd"],
        flux=taken["flux"],
        error=taken["error"],
        is_limit=taken["is_limit"],
        band=np.array([index[name] for name in taken["filter"]]),
        bands=tuple(bands),
        row=np.flatnonzero(good)[order],
        left_out=dict(Counter(reasons[~good].tolist())),
    )


def _columns(table: Table, error_where_none: float | None) -> dict[str, np.ndarray]:
    """The columns as plain arrays; a missing flux is replaced by the limit that stands for it."""
    flux = _numbers(table, "flux")
    error = _numbers(table, "fluxerr")
    with np.errstate(over="ignore"):
        limit = 10.0 ** (0.4 * (_ZERO_POINT - _numbers(table, "limiting_mag")))
    error[error <= 0.0] = np.nan
    is_limit = ~np.isfinite(flux)
    error = np.where(is_limit & ~np.isfinite(error), limit / _LIMIT_SIGMAS, error)
    limit = np.where(np.isfinite(limit), limit, _LIMIT_SIGMAS * error)
    if error_where_none is not None:
        assumed = np.abs(flux) * error_where_none / _MAGNITUDES
        error = np.where(~is_limit & ~np.isfinite(error), assumed, error)
    return {
        "mjd": _numbers(table, "mjd"),
        "flux": np.where(is_limit, limit, flux),
        "error": error,
        "is_limit": is_limit,
        "filter": np.array([str(name) for name in table["filter"]], dtype=object),
    }


def _numbers(table: Table, name: str) -> np.ndarray:
    """A column as float64 in which what is masked or missing is NaN."""
    if name not in table.colnames:
        return np.full(len(table), np.nan)
    column: Any = np.ma.asarray(table[name], dtype=np.float64)
    return np.array(column.filled(np.nan), dtype=np.float64)


def _reasons(
    columns: dict[str, np.ndarray], passbands: dict[str, Passband | None], cuts: Cuts
) -> np.ndarray:
    """Why each is left out, text of shape (n,); empty where it is not."""
    mjd, flux, error = columns["mjd"], columns["flux"], columns["error"]
    reasons = np.full(len(mjd), "", dtype=object)

    def leave_out(which: np.ndarray, reason: str) -> None:
        reasons[which & (reasons == "")] = reason

    for name, known in passbands.items():
        if known is None:
            leave_out(columns["filter"] == name, f"filter {name} is unknown")
    leave_out(~np.isfinite(mjd), "no time")
    leave_out(columns["is_limit"] & ~np.isfinite(flux), "neither flux nor limit")
    leave_out(~np.isfinite(error), "no error")
    if cuts.first is not None:
        leave_out(mjd < cuts.first, "before the first day asked for")
    if cuts.last is not None:
        leave_out(mjd > cuts.last, "after the last day asked for")
    if cuts.snr_min is not None:
        faint = ~columns["is_limit"] & (flux < cuts.snr_min * error)
        leave_out(faint, f"signal-to-noise below {cuts.snr_min:g}")
    return reasons


def _nothing_left(reasons: np.ndarray, columns: dict[str, np.ndarray]) -> tuple[str]:
    told = "; ".join(f"{number} with {reason}" for reason, number in Counter(reasons).items())
    if all(str(reason).startswith("filter ") for reason in reasons):
        names = ", ".join(sorted(set(columns["filter"])))
        return (f"no usable band: no passband is known for {names}",)
    return (f"none of the {len(reasons)} measurements can be used: {told}",)
