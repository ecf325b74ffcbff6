"""astrometry.net's solve-field, where it is installed: a second opinion on where a frame is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike

from firstlight.algorithms.plate.plate_solve import Prior
from firstlight.algorithms.sky.projection import Projection

__all__ = ["SolveField"]

BRIGHTEST = 1000


class SolveField:
    """Runs solve-field on a list of detections.

    What it answers is a proposal: whoever calls must have it verified by
    `algorithms.plate_solve.verify_projection`.

    Parameters
    ----------
    executable
        Name on PATH, or path, of the program.
    timeout
        Seconds after which it is stopped, with the processes it began.
    """

    def __init__(self, executable: str = "solve-field", *, timeout: float = 20.0) -> None:
        self._executable = executable
        self._timeout = timeout

    @property
    def installed(self) -> bool:
        """Whether the program is there."""
        return shutil.which(self._executable) is not None

    def solve(
        self,
        x: ArrayLike,
        y: ArrayLike,
        flux: ArrayLike,
        shape: tuple[int, int],
        prior: Prior | None = None,
    ) -> Projection | None:
        """Ask where a frame is.

        Parameters
        ----------
        x, y, flux
            Detections: 0-based pixels and any measure that grows with brightness.
        shape
            ``(ny, nx)`` of the frame.
        prior
            What is known.

        Returns
        -------
        The projection, not yet verified; None where the program is not installed, finds no
        solution, fails, or runs out of time.
        """
        program = shutil.which(self._executable)
        if program is None:
            return None
        with tempfile.TemporaryDirectory(prefix="solve-field-") as name:
            folder = Path(name)
            _write_list(folder / "stars.xyls", np.array([x, y, flux], np.float64))
            command = [program, *_arguments(folder, shape, prior or Prior(), self._timeout)]
            if not _run(command, folder, self._timeout):
                return None
            return _read(folder / "stars.wcs")


def _write_list(path: Path, stars: np.ndarray) -> None:
    """The table that solve-field reads: 1-based pixels, brightest first."""
    stars = stars[:, np.all(np.isfinite(stars), axis=0)]
    stars = stars[:, np.argsort(-stars[2], kind="stable")[:BRIGHTEST]]
    columns = [
        fits.Column("X", "D", array=stars[0] + 1.0),
        fits.Column("Y", "D", array=stars[1] + 1.0),
        fits.Column("FLUX", "D", array=stars[2]),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(path)


def _arguments(folder: Path, shape: tuple[int, int], prior: Prior, timeout: float) -> list[str]:
    ny, nx = shape
    wanted = ["--no-plots", "--overwrite", "--dir", str(folder), "--wcs", str(folder / "stars.wcs")]
    wanted += ["--x-column", "X", "--y-column", "Y", "--sort-column", "FLUX"]
    wanted += ["--width", str(nx), "--height", str(ny), "--cpulimit", str(max(int(timeout), 1))]
    if prior.scale_low is not None and prior.scale_high is not None:
        wanted += ["--scale-units", "arcsecperpix"]
        wanted += ["--scale-low", str(prior.scale_low), "--scale-high", str(prior.scale_high)]
    if prior.ra is not None and prior.dec is not None:
        # An equals sign, since a southern declination looks like an option.
        wanted += [f"--ra={prior.ra}", f"--dec={prior.dec}"]
        width = max(shape) * (prior.scale_high or 0.0) / 3600.0
        wanted += [f"--radius={prior.radius + width}"]
    return [*wanted, str(folder / "stars.xyls")]


def _run(command: list[str], folder: Path, timeout: float) -> bool:
    """Whether the program ended well and in time."""
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return False
    try:
        return process.wait(timeout) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        if process.poll() is None:
            # The engine is a child of its own, which would outlive solve-field.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _read(path: Path) -> Projection | None:
    """The projection in a ``.wcs`` file, or None where there is none that can be used."""
    try:
        return Projection.from_header(fits.getheader(path))
    except (OSError, ValueError):
        return None
