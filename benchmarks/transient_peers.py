"""The programs to compare a search for transients with, stage by stage, on the same inputs.

A peer prepares its files unmeasured, from the same work that firstlight's stage was given, and
says what is measured and how its answer is judged.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import sep
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from scipy.ndimage import map_coordinates
from scipy.signal import fftconvolve

import transient_judging as judge
from firstlight.algorithms.sky.projection import Projection
from meter import Row, run_watched
from peers import Scamp, SourceExtractor, matched_kernel, quietly
from transient_stages import Work, stamp_of

RADII = [4.0, 6.0, 8.0]
VIGNET = 45
SATURATED = 0.95
# Powers of xi and eta in the order of the cards PV1_4 to PV1_10; for PV2 they change places.
PV_POWERS = {0: (0, 0), 1: (1, 0), 2: (0, 1), 4: (2, 0), 5: (1, 1), 6: (0, 2)}
PV_POWERS |= {7: (3, 0), 8: (2, 1), 9: (1, 2), 10: (0, 3)}

Action = Callable[[], Any]
Judge = Callable[[Any], dict[str, float]]


class Peer(NamedTuple):
    """A program or package for one stage.

    Attributes
    ----------
    needs
        Name in `peers.versions`.
    prepare
        From the work to what is measured, and to the judge of what that returns.
    """

    stage: str
    name: str
    needs: str
    prepare: Callable[[Work], tuple[Action, Judge]]


def _astroscrappy(work: Work) -> tuple[Action, Judge]:
    import astroscrappy  # noqa: PLC0415, a peer that may be missing

    settings = work.pair.settings
    full = (work.flags & 2) != 0

    def act() -> np.ndarray:
        return astroscrappy.detect_cosmics(
            work.data,
            inmask=full,
            gain=1.0,
            readnoise=settings.read_noise,
            satlevel=SATURATED * settings.saturation,
        )[0]

    return act, lambda mask: judge.cosmic_rays(work.pair, np.asarray(mask))


def _write(path: Path, plane: np.ndarray, header: fits.Header | None = None) -> Path:
    fits.writeto(path, np.asarray(plane, np.float32), header, overwrite=True)
    return path


def _write_new(work: Work) -> None:
    _write(work.folder / "image.fits", work.data)
    _write(work.folder / "weight.fits", np.where(work.hidden, 0, 1 / work.variance))


def _source_extractor(work: Work) -> tuple[Action, Judge]:
    _write_new(work)
    program = SourceExtractor(
        work.folder, work.fwhm, RADII, 4.5, SATURATED * work.pair.settings.saturation
    )

    def answer(_: object) -> dict[str, float]:
        x, y, _table = program.read()
        return judge.detection(work.pair, x, y)

    return program.run, answer


def _sep(work: Work) -> tuple[Action, Judge]:
    text, noise = matched_kernel(work.fwhm)
    kernel = np.array([line.split() for line in text.splitlines()[1:]], np.float32)
    data, hidden = np.ascontiguousarray(work.data), work.hidden

    def act() -> tuple[np.ndarray, np.ndarray]:
        sky = sep.Background(data, mask=hidden)
        left = data - sky.back()
        found = sep.extract(
            left, 4.5 * noise * sky.globalrms, minarea=3, filter_kernel=kernel, mask=hidden
        )
        width = np.full(found.size, work.fwhm / 2.3548)
        x, y, _ = sep.winpos(left, found["x"], found["y"], width)
        for radius in RADII:
            sep.sum_circle(left, x, y, radius, err=sky.globalrms)
        return x, y

    return act, lambda places: judge.detection(work.pair, *places)


def _psfex(work: Work) -> tuple[Action, Judge]:
    _write_new(work)
    folder = work.folder
    program = SourceExtractor(
        folder, work.fwhm, RADII, 4.5, SATURATED * work.pair.settings.saturation
    )
    parameters = "X_IMAGE Y_IMAGE FLUX_RADIUS FLUX_APER(1) FLUXERR_APER(1) ELONGATION FLAGS SNR_WIN"
    names = [*parameters.split(), f"VIGNET({VIGNET},{VIGNET})"]
    (folder / "psfex.param").write_text("\n".join(names) + "\n")
    command = [*program.command, "-CATALOG_TYPE", "FITS_LDAC"]
    command += ["-PARAMETERS_NAME", str(folder / "psfex.param"), "-PHOT_APERTURES", "16"]
    command += ["-CATALOG_NAME", str(folder / "psfex.cat")]
    quietly(command, folder)
    (folder / "psfex.conf").write_text("")
    run = ["psfex", str(folder / "psfex.cat"), "-c", str(folder / "psfex.conf")]
    settings = {
        "PSFVAR_KEYS": "X_IMAGE,Y_IMAGE",
        "PSFVAR_GROUPS": "1,1",
        "PSFVAR_DEGREES": "2",
        "PSF_SAMPLING": "0.8",
        "PSF_SIZE": f"{VIGNET},{VIGNET}",
        "SAMPLE_FWHMRANGE": "2.0,10.0",
        "CHECKPLOT_TYPE": "NONE",
        "CHECKIMAGE_TYPE": "NONE",
        "WRITE_XML": "N",
        "VERBOSE_TYPE": "QUIET",
        "NTHREADS": "1",
        "PSF_DIR": str(folder),
    }
    for key, value in settings.items():
        run += [f"-{key}", value]

    def answer(_: object) -> dict[str, float]:
        return judge.psf_model(work.pair, _psfex_stamps(folder / "psfex.psf"))

    return lambda: quietly(run, folder), answer


def _psfex_stamps(path: Path) -> Callable[[float, float, int], np.ndarray]:
    """Evaluate PSFEx's model: polynomial in place, then its own pixels to the image's."""
    with fits.open(path) as hdus:
        header, basis = hdus[1].header, np.asarray(hdus[1].data["PSF_MASK"][0], float)
    degree, step = int(header["POLDEG1"]), float(header["PSF_SAMP"])
    powers = [(p, q) for q in range(degree + 1) for p in range(degree + 1 - q)]

    def stamp(x: float, y: float, radius: int) -> np.ndarray:
        u = (x + 1 - header["POLZERO1"]) / header["POLSCAL1"]
        v = (y + 1 - header["POLZERO2"]) / header["POLSCAL2"]
        model = sum(u**p * v**q * plane for (p, q), plane in zip(powers, basis, strict=True))
        offsets = np.arange(-radius, radius + 1) / step + basis.shape[1] // 2
        return map_coordinates(model, np.meshgrid(offsets, offsets, indexing="ij"), order=5)

    return stamp


def _scamp(work: Work) -> tuple[Action, Judge]:
    pair = work.pair
    assert work.detection is not None
    catalog = pair.catalog
    Table(
        {
            "RAJ2000": catalog.ra,
            "DEJ2000": catalog.dec,
            "e_RAJ2000": catalog.position_err / 3600,
            "e_DEJ2000": catalog.position_err / 3600,
            "VTmag": catalog.mag,
            "e_VTmag": catalog.mag_err,
        }
    ).write(work.folder / "stars.fits", overwrite=True)
    step = pair.header.pixel_scale
    case = SimpleNamespace(
        shape=pair.settings.shape,
        scale=step,
        ra=pair.header.crval[0],
        dec=pair.header.crval[1],
        axis=pair.header.crpix,
        mount=3600 * pair.header.cd / step,
        exposure_time=1.0,
        path=lambda name: work.folder / name,
    )
    found = work.detection.sources
    good = np.isfinite(found.x_err) & (found.snr > 10) & (found.flux > 0) & (found.flags == 0)
    sources = {
        "x": found.x_win[good],
        "y": found.y_win[good],
        "x_err": found.x_err[good],
        "y_err": found.y_err[good],
        "flux": found.flux[good],
        "flux_err": found.flux_err[good],
        "fwhm": np.nan_to_num(found.fwhm[good], nan=work.fwhm),
    }
    program = Scamp(case, work.folder, sources, 3)  # type: ignore[arg-type] # what it reads of it
    program.command += ["-POSITION_MAXERR", "0.5", "-CROSSID_RADIUS", "2.0"]

    def answer(ended: bool) -> dict[str, float]:
        if not ended:
            raise RuntimeError("no solution")
        return judge.astrometry(pair, _Adapter(WCS(program.header())))  # type: ignore[arg-type]

    return program.run, answer


class _Adapter:
    """A WCS with the one method of `Projection` that the judge uses."""

    def __init__(self, wcs: WCS) -> None:
        self.wcs = wcs

    def sky_to_pixel(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = self.wcs.all_world2pix(ra, dec, 0)
        return x, y


def tpv_header(projection: Projection, shape: tuple[int, int]) -> fits.Header:
    """A projection with cubic SIP terms as TPV, which SWarp reads; the same polynomial."""
    ny, nx = shape
    header = fits.Header({"NAXIS": 2, "NAXIS1": nx, "NAXIS2": ny})
    for name, value in projection.to_header().items():
        if not name.startswith(("A_", "B_", "AP_", "BP_")):
            header[name] = value
    header["CTYPE1"], header["CTYPE2"] = "RA---TPV", "DEC--TPV"
    u, v = (g.ravel() for g in np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21)))
    u, v = u * nx / 2, v * ny / 2
    more = [np.polynomial.polynomial.polyval2d(u, v, t) for t in (projection.a, projection.b)]
    plain, moved = projection.cd @ [u, v], projection.cd @ [u + more[0], v + more[1]]
    size = np.abs(plain).max()
    for axis in (0, 1):
        first, second = plain[axis] / size, plain[1 - axis] / size
        design = np.stack([first**p * second**q for p, q in PV_POWERS.values()], axis=1)
        terms = np.linalg.lstsq(design, moved[axis], rcond=None)[0]
        for (number, (p, q)), term in zip(PV_POWERS.items(), terms, strict=True):
            header[f"PV{axis + 1}_{number}"] = term / size ** (p + q)
    return header


def _swarp(work: Work) -> tuple[Action, Judge]:
    pair, folder = work.pair, work.folder
    shape = pair.settings.shape
    assert work.projection is not None
    own = tpv_header(pair.reference.projection, shape)
    reference = _write(folder / "reference.fits", pair.reference.subtracted, own)
    light = _write(folder / "light.fits", pair.reference.light, own)
    program = shutil.which("SWarp") or shutil.which("swarp") or "swarp"
    (folder / "swarp.conf").write_text("")

    def resampled(source: Path, target: Projection) -> Path:
        out = folder / f"{source.stem}-on-new.fits"
        tpv_header(target, shape).totextfile(out.with_suffix(".head"), overwrite=True, endcard=True)
        settings = {
            "IMAGEOUT_NAME": out,
            "WEIGHTOUT_NAME": folder / "swarp-weight.fits",
            "RESAMPLING_TYPE": "LANCZOS3",
            "FSCALASTRO_TYPE": "VARIABLE",
            "SUBTRACT_BACK": "N",
            "RESAMPLE_DIR": folder,
            "WRITE_XML": "N",
            "VERBOSE_TYPE": "QUIET",
            "NTHREADS": "1",
        }
        command = [program, str(source), "-c", str(folder / "swarp.conf")]
        for key, value in settings.items():
            command += [f"-{key}", str(value)]
        if not quietly(command, folder):
            raise RuntimeError("SWarp failed")
        return out

    def answer(_: object) -> dict[str, float]:
        plane = fits.getdata(resampled(light, pair.new.projection)).astype(np.float32)
        return judge.resampling(pair, plane, pair.reference_on_new())

    return lambda: resampled(reference, work.projection), answer


def _hotpants(work: Work) -> tuple[Action, Judge]:
    folder, settings = work.folder, work.pair.settings
    aligned = work.aligned
    spread = np.where(np.isfinite(aligned.variance), aligned.variance, 1e12)
    _write(folder / "new.fits", work.left)
    _write(folder / "new-noise.fits", np.sqrt(work.variance))
    _write(folder / "template.fits", aligned.pixels)
    _write(folder / "template-noise.fits", np.sqrt(spread))
    hidden = work.hidden | ((aligned.flags & np.uint16(2)) != 0) | (spread >= 1e12)
    fits.writeto(folder / "mask.fits", hidden.astype(np.int16), overwrite=True)
    top, low = str(SATURATED * settings.saturation), "-1000"
    command = ["hotpants", "-inim", "new.fits", "-tmplim", "template.fits"]
    command += ["-outim", "difference.fits", "-oni", "difference-noise.fits"]
    command += ["-ini", "new-noise.fits", "-tni", "template-noise.fits"]
    command += ["-imi", "mask.fits", "-tmi", "mask.fits", "-c", "t", "-n", "i", "-v", "0"]
    command += ["-iu", top, "-tu", top, "-il", low, "-tl", low]

    def answer(ended: bool) -> dict[str, float]:
        if not ended:
            raise RuntimeError("hotpants failed")
        difference, noise = (
            fits.getdata(folder / name).astype(np.float32)
            for name in ("difference.fits", "difference-noise.fits")
        )
        lost = hidden | ~np.isfinite(difference) | ~(noise > 0) | (np.abs(difference) < 1e-29)
        values = _scored(work, difference, noise, lost)
        found = judge.peaks(values, lost)
        return judge.score(work.pair, values, lost) | judge.transients(work.pair, found)

    return lambda: quietly(command, folder), answer


def write_pair(work: Work) -> None:
    """What `stdpipe_transients.py` reads."""
    pair, folder, settings = work.pair, work.folder, work.pair.settings
    np.savez(
        folder / "pair.npz",
        raw=pair.raw,
        bias=pair.bias,
        flat=pair.flat,
        reference=pair.reference.pixels,
    )
    facts = {
        "gain": settings.gain,
        "saturation": settings.saturation,
        "reference_fwhm": settings.reference_fwhm,
        "exposures": settings.reference_exposures,
    }
    (folder / "pair.json").write_text(json.dumps(facts))
    ny, nx = settings.shape
    for name, projection in (("header", pair.header), ("template", pair.reference.projection)):
        cards = fits.Header({"NAXIS": 2, "NAXIS1": nx, "NAXIS2": ny})
        cards.update(projection.to_header())
        cards.totextfile(folder / f"{name}.hdr", overwrite=True)
    catalog = pair.catalog
    Table(
        {
            "RAJ2000": catalog.ra,
            "DEJ2000": catalog.dec,
            "e_RAJ2000": catalog.position_err / 3600,
            "e_DEJ2000": catalog.position_err / 3600,
            "rmag": catalog.mag,
            "e_rmag": catalog.mag_err,
        }
    ).write(folder / "catalog.fits", overwrite=True)


def stdpipe_flow(work: Work, row: Row, name: str) -> None:
    """The whole flow in a process of its own, its imports not measured."""
    write_pair(work)
    script = Path(__file__).with_name("stdpipe_transients.py")
    ended, peak, spent = run_watched([sys.executable, str(script), str(work.folder)])
    if ended:
        row.failures.append(f"{name}: ended with {ended}")
        return
    stages = json.loads((work.folder / "stdpipe.json").read_text())
    found = np.load(work.folder / "stdpipe.npz")
    candidates = judge.Candidates(
        found["x"], found["y"], found["flux"] / found["fluxerr"], found["flux"], found["fluxerr"]
    )
    spent.cpu = sum(stages.values())
    row.stages.append(stages)
    row.peak_mb = max(peak, row.peak_mb or 0)
    row.add(name, spent, judge.transients(work.pair, candidates))


def _scored(work: Work, difference: np.ndarray, noise: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """The common matched filter, scaled to a width of one: difference images hold no score."""
    ny, nx = difference.shape
    psf = stamp_of(work.psf)(nx / 2, ny / 2, int(np.ceil(2.5 * work.fwhm)))
    weight = np.where(lost, 0, 1 / np.maximum(noise, 1e-3) ** 2)
    light = np.where(lost, 0, difference)
    top = fftconvolve(weight * light, psf[::-1, ::-1], mode="same")
    bottom = fftconvolve(weight, psf[::-1, ::-1] ** 2, mode="same")
    values = top / np.sqrt(np.maximum(bottom, 1e-12))
    sample = values[~lost][::7]
    return values / (1.4826 * np.median(np.abs(sample - np.median(sample))))


PEERS = (
    Peer("cosmic rays", "astroscrappy", "astroscrappy", _astroscrappy),
    Peer("detection", "source-extractor matched", "source-extractor", _source_extractor),
    Peer("detection", "sep matched", "sep", _sep),
    Peer("psf", "PSFEx", "psfex", _psfex),
    Peer("astrometry", "SCAMP", "scamp", _scamp),
    Peer("resampling", "SWarp LANCZOS3", "SWarp", _swarp),
    Peer("subtraction", "hotpants, defaults", "hotpants", _hotpants),
)
