"""The programs to compare with: whether they are there, which version, and how they are run."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from cases import Case

PROGRAMS = {
    "source-extractor": ["source-extractor", "--version"],
    "scamp": ["scamp", "--version"],
    "solve-field": ["solve-field", "--help"],
}
PACKAGES = ("stdpipe", "astroscrappy", "ccdproc", "photutils", "statsmodels", "sep")
OWN = ("numpy", "scipy", "astropy", "numba")

COLUMNS = """NUMBER X_IMAGE Y_IMAGE XWIN_IMAGE YWIN_IMAGE ERRAWIN_IMAGE ERRBWIN_IMAGE
ERRTHETAWIN_IMAGE FLUX_AUTO FLUXERR_AUTO FLUX_APER({n}) FLUXERR_APER({n}) FLUX_MAX FWHM_IMAGE
ELONGATION THETA_IMAGE SNR_WIN BACKGROUND FLAGS"""
DEFAULT_KERNEL = "CONV NORM\n1 2 1\n2 4 2\n1 2 1\n"


def versions() -> dict[str, str]:
    """What is installed, by name; programs first."""
    found = {}
    for name, command in PROGRAMS.items():
        if shutil.which(command[0]) is None:
            continue
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        number = re.search(r"(?:version|Revision:?) *([0-9][\w.+-]*)", said.stdout + said.stderr)
        found[name] = number.group(1).rstrip(".,") if number else "?"
    for name in (*PACKAGES, *OWN):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def quietly(command: list[str], folder: Path) -> bool:
    """Whether a program ended well; only what it leaves in files counts."""
    ended = subprocess.run(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    return ended.returncode == 0


def matched_kernel(fwhm: float) -> tuple[str, float]:
    """A Gaussian filter of the stars' width, and the noise it leaves of white noise of one."""
    half = max(2, int(np.ceil(fwhm)))
    taps = np.exp(-0.5 * (np.arange(-half, half + 1) / (fwhm / 2.3548)) ** 2)
    kernel = np.outer(taps, taps)
    text = "CONV NORM\n" + "\n".join(" ".join(f"{v:.6f}" for v in row) for row in kernel) + "\n"
    return text, float(np.sqrt((kernel**2).sum()) / kernel.sum())


class SourceExtractor:
    """Source-extractor with one recipe.

    Parameters
    ----------
    folder
        Where its files go.
    fwhm
        Of the stars, pixels; the matched filter has it.
    radii
        Of the apertures, pixels.
    matched
        Sigma of the filtered image to detect at (3 pixels); None for its usual 1.5 sigma of
        the unfiltered image over 5 pixels.
    saturation
        Electrons.
    """

    def __init__(
        self,
        folder: Path,
        fwhm: float,
        radii: list[float],
        matched: float | None,
        saturation: float | None,
    ) -> None:
        self.folder = folder
        kernel, noise = (DEFAULT_KERNEL, 1.0) if matched is None else matched_kernel(fwhm)
        threshold = 1.5 if matched is None else matched * noise
        self.catalog = folder / ("default.cat" if matched is None else "matched.cat")
        stem = self.catalog.with_suffix("")
        stem.with_suffix(".conv").write_text(kernel)
        stem.with_suffix(".param").write_text(
            "\n".join(COLUMNS.format(n=len(radii)).split()) + "\n"
        )
        settings = {
            "CATALOG_NAME": self.catalog,
            "CATALOG_TYPE": "FITS_1.0",
            "PARAMETERS_NAME": stem.with_suffix(".param"),
            "FILTER_NAME": stem.with_suffix(".conv"),
            "DETECT_THRESH": threshold,
            "ANALYSIS_THRESH": threshold,
            "DETECT_MINAREA": 5 if matched is None else 3,
            "PHOT_APERTURES": ",".join(f"{2 * radius:.3f}" for radius in radii),
            "WEIGHT_TYPE": "MAP_WEIGHT",
            "WEIGHT_IMAGE": folder / "weight.fits",
            "WEIGHT_GAIN": "N",
            "GAIN": 1.0,
            "SATUR_LEVEL": saturation or 1e9,
            "SEEING_FWHM": 5.0,
            "MEMORY_PIXSTACK": 3_000_000,
            "VERBOSE_TYPE": "QUIET",
            "NTHREADS": 1,
        }
        (stem.with_suffix(".sex")).write_text("")
        self.command = ["source-extractor", str(folder / "image.fits")]
        self.command += ["-c", str(stem.with_suffix(".sex"))]
        for key, value in settings.items():
            self.command += [f"-{key}", str(value)]

    def run(self) -> bool:
        """Detect; reading the catalogue is not part of it."""
        return quietly(self.command, self.folder)

    def read(self) -> tuple[np.ndarray, np.ndarray, Table]:
        """0-based windowed positions and the whole table."""
        table = Table.read(self.catalog, hdu=1)
        x, y = np.asarray(table["XWIN_IMAGE"]) - 1.0, np.asarray(table["YWIN_IMAGE"]) - 1.0
        return x, y, table


class Scamp:
    """SCAMP on a list of detections, with a header's first guess, against the case's stars."""

    def __init__(
        self, case: Case, folder: Path, sources: dict[str, np.ndarray], degree: int
    ) -> None:
        self.folder = folder
        header = first_guess(case)
        _write_ldac(folder / "stars.cat", header, _detections(sources))
        _write_ldac(folder / "reference.cat", header, _references(case))
        settings = {
            "ASTREF_CATALOG": "FILE",
            "ASTREFCAT_NAME": folder / "reference.cat",
            "ASTREFMAG_KEY": "MAG",
            "ASTREFMAGERR_KEY": "MAGERR",
            "POSITION_MAXERR": 30.0,
            "POSANGLE_MAXERR": 5.0,
            "PIXSCALE_MAXERR": 1.1,
            "CROSSID_RADIUS": 3 * case.scale,
            "DISTORT_DEGREES": degree,
            "SN_THRESHOLDS": "10,100",
            "SOLVE_PHOTOM": "N",
            "CHECKPLOT_TYPE": "NONE",
            "WRITE_XML": "N",
            "VERBOSE_TYPE": "QUIET",
            "NTHREADS": 1,
        }
        (folder / "scamp.conf").write_text("")
        self.command = ["scamp", str(folder / "stars.cat"), "-c", str(folder / "scamp.conf")]
        for key, value in settings.items():
            self.command += [f"-{key}", str(value)]

    def run(self) -> bool:
        (self.folder / "stars.head").unlink(missing_ok=True)
        return quietly(self.command, self.folder) and (self.folder / "stars.head").exists()

    def header(self) -> fits.Header:
        """The first guess with what SCAMP found in its place."""
        text = (self.folder / "stars.head").read_text(encoding="latin-1")
        header = fits.Header()
        for line in text.splitlines():
            if line.startswith(("END", "HISTORY", "COMMENT")):
                continue
            header.append(fits.Card.fromstring(line))
        return header


def first_guess(case: Case) -> fits.Header:
    """A projection as a telescope would write it: pointing, nominal scale, how it is mounted."""
    ny, nx = case.shape
    step = case.scale / 3600
    return fits.Header(
        [
            ("BITPIX", -32),  # SCAMP calls a header without it corrupted
            ("NAXIS", 2),
            ("NAXIS1", nx),
            ("NAXIS2", ny),
            ("CTYPE1", "RA---TAN"),
            ("CTYPE2", "DEC--TAN"),
            ("CUNIT1", "deg"),
            ("CUNIT2", "deg"),
            ("EQUINOX", 2000.0),
            ("RADESYS", "ICRS"),
            ("CRVAL1", case.ra),
            ("CRVAL2", case.dec),
            ("CRPIX1", case.axis[0] + 1),
            ("CRPIX2", case.axis[1] + 1),
            ("CD1_1", step * case.mount[0][0]),
            ("CD1_2", step * case.mount[0][1]),
            ("CD2_1", step * case.mount[1][0]),
            ("CD2_2", step * case.mount[1][1]),
            ("EXPTIME", case.exposure_time),
        ]
    )


def _detections(sources: dict[str, np.ndarray]) -> list[fits.Column]:
    error = np.maximum(np.hypot(sources["x_err"], sources["y_err"]) / np.sqrt(2), 1e-3)
    plain = np.zeros(len(error))
    return [
        fits.Column("XWIN_IMAGE", "1D", "pixel", array=sources["x"] + 1),
        fits.Column("YWIN_IMAGE", "1D", "pixel", array=sources["y"] + 1),
        fits.Column("ERRAWIN_IMAGE", "1E", "pixel", array=error),
        fits.Column("ERRBWIN_IMAGE", "1E", "pixel", array=error),
        fits.Column("ERRTHETAWIN_IMAGE", "1E", "deg", array=plain),
        fits.Column("FLUX_AUTO", "1E", "count", array=sources["flux"]),
        fits.Column("FLUXERR_AUTO", "1E", "count", array=sources["flux_err"]),
        fits.Column("FLUX_RADIUS", "1E", "pixel", array=sources["fwhm"] / 2),
        fits.Column("ELONGATION", "1E", array=plain + 1),
        fits.Column("FLAGS", "1I", array=plain),
    ]


def _references(case: Case) -> list[fits.Column]:
    stars = Table.read(case.path("stars.fits"))
    plain = np.zeros(len(stars))
    return [
        fits.Column("X_WORLD", "1D", "deg", array=stars["RAJ2000"]),
        fits.Column("Y_WORLD", "1D", "deg", array=stars["DEJ2000"]),
        fits.Column("ERRA_WORLD", "1E", "deg", array=stars["e_RAJ2000"]),
        fits.Column("ERRB_WORLD", "1E", "deg", array=stars["e_DEJ2000"]),
        fits.Column("ERRTHETA_WORLD", "1E", "deg", array=plain),
        fits.Column("MAG", "1E", "mag", array=stars["VTmag"]),
        fits.Column("MAGERR", "1E", "mag", array=stars["e_VTmag"]),
        fits.Column("OBSDATE", "1D", "yr", array=plain + 2000.0),
    ]


def _write_ldac(path: Path, header: fits.Header, columns: list[fits.Column]) -> None:
    # Blanks at the end of a column are lost, and SCAMP dies of an END that is not a whole card:
    # a second END after the first keeps it whole.
    text = header.tostring(endcard=True) + fits.Header().tostring(endcard=True)
    cards = fits.Column("Field Header Card", f"{len(text)}A", array=[text])
    head = fits.BinTableHDU.from_columns([cards], name="LDAC_IMHEAD")
    table = fits.BinTableHDU.from_columns(columns, name="LDAC_OBJECTS")
    fits.HDUList([fits.PrimaryHDU(), head, table]).writeto(path, overwrite=True)
