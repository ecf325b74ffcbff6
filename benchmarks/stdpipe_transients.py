"""Raw section to transient candidates by STDPipe, as its notebooks do it.

Usage: ``python stdpipe_transients.py FOLDER``, with the files of `transient_peers.write_pair` in
it; leaves ``stdpipe.json`` (CPU seconds a step) and ``stdpipe.npz`` (candidates) there.

Calibration is plain numpy, cheaper than any of the packages. The difference is searched for
sources of both images' filtered noise at 5 sigma, and the candidates are measured in apertures.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import sep
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from stdpipe import cutouts, photometry, pipeline, reproject, subtraction

from meter import metered

SATURATED = 0.95
BRIGHT = 100  # signal-to-noise ratio: with all detections its matching goes astray
SIGMAS = 5.0


class Flow:
    """One pair, step by step; `stages` holds what each cost."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = json.loads((folder / "pair.json").read_text())
        self.planes = dict(np.load(folder / "pair.npz"))
        self.catalog = Table.read(folder / "catalog.fits")
        self.header = WCS(fits.Header.fromtextfile(folder / "header.hdr"))
        self.template_header = fits.Header.fromtextfile(folder / "template.hdr")
        self.stages: dict[str, float] = {}

    def timed(self, name: str, function):
        with metered() as spent:
            result = function()
        self.stages[name] = spent.cpu
        return result

    def run(self) -> Table:
        image = self.timed("calibrate", self.calibrate)
        mask = self.timed("mask", lambda: self.mask(image))
        obj = self.timed("extract", lambda: self.extract(image, mask))
        wcs = self.timed("astrometry", lambda: self.refine(obj))
        obj = self.timed("measure", lambda: self.measure(obj, image, mask))
        obj["ra"], obj["dec"] = wcs.all_pix2world(obj["x"], obj["y"], 0)
        self.timed("zero point", lambda: self.zero_point(obj))
        template = self.timed("template", lambda: self.template(wcs, image.shape))
        fwhm = float(np.median(obj["fwhm"][(obj["flags"] == 0) & (obj["sn"] > 30)]))
        result = self.timed("subtract", lambda: self.subtract((image, mask), template, fwhm))
        planes = {"image": image, "template": template}
        return self.timed("candidates", lambda: self.candidates(result, mask, (wcs, fwhm), planes))

    def calibrate(self) -> np.ndarray:
        raw = self.planes["raw"].astype(np.float32)
        return (raw - self.planes["bias"]) * np.float32(self.facts["gain"]) / self.planes["flat"]

    def mask(self, image: np.ndarray) -> np.ndarray:
        return pipeline.make_mask(
            image,
            saturation=SATURATED * self.facts["saturation"],
            mask_cosmics=True,
            gain=1.0,
            verbose=False,
        )

    def extract(self, image: np.ndarray, mask: np.ndarray) -> Table:
        return photometry.get_objects_sextractor(image, mask=mask, aper=3.0, gain=1.0, edge=10)

    def refine(self, obj: Table) -> WCS:
        bright = obj[obj["flux"] > BRIGHT * obj["fluxerr"]]
        wcs = pipeline.refine_astrometry(
            bright,
            self.catalog,
            sr=15 / 3600,
            wcs=self.header,
            order=3,
            cat_col_mag="rmag",
            cat_col_mag_err="e_rmag",
            method="quadhash",
        )
        if wcs is None:
            raise RuntimeError("no projection")
        return wcs

    def measure(self, obj: Table, image: np.ndarray, mask: np.ndarray) -> Table:
        fwhm = float(np.median(obj["fwhm"][(obj["flags"] == 0) & (obj["flux"] > 0)]))
        obj = photometry.measure_objects(
            obj, image, mask=mask, fwhm=fwhm, aper=1.5, bkgann=(5, 7), gain=1.0
        )
        obj["sn"] = obj["flux"] / obj["fluxerr"]
        return obj

    def zero_point(self, obj: Table) -> None:
        pipeline.calibrate_photometry(
            obj,
            self.catalog,
            sr=1.0 / 3600,
            cat_col_mag="rmag",
            cat_col_mag_err="e_rmag",
        )

    def template(self, wcs: WCS, shape: tuple[int, int]) -> np.ndarray:
        ny, nx = shape
        return reproject.reproject_swarp(
            [(self.planes["reference"], self.template_header)], wcs=wcs, width=nx, height=ny
        )

    def subtract(
        self, new: tuple[np.ndarray, np.ndarray], template: np.ndarray, fwhm: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image, mask = new
        lost = ~np.isfinite(template)
        lost |= template > SATURATED * self.facts["saturation"]
        filled = np.where(np.isfinite(template), template, 0).astype(np.float32)
        left = image - sep.Background(np.ascontiguousarray(image), mask=mask).back()
        rest = filled - sep.Background(np.ascontiguousarray(filled), mask=lost).back()
        difference, noise = subtraction.run_hotpants(
            left,
            rest,
            mask=mask,
            template_mask=lost,
            err=True,
            template_err=True,
            image_fwhm=fwhm,
            template_fwhm=self.facts["reference_fwhm"],
            image_gain=1.0,
            template_gain=self.facts["exposures"],
            get_noise=True,
        )
        return difference, noise, lost

    def candidates(
        self,
        result: tuple[np.ndarray, np.ndarray, np.ndarray],
        mask: np.ndarray,
        known: tuple[WCS, float],
        planes: dict[str, np.ndarray],
    ) -> Table:
        difference, noise, lost = result
        wcs, fwhm = known
        hidden = mask | lost | ~np.isfinite(difference) | ~(noise > 0)
        obj = photometry.get_objects_sextractor(
            difference,
            mask=hidden,
            err=noise,
            wcs=wcs,
            thresh=1.5,
            minarea=3,
            aper=fwhm,
            edge=20,
            sn=SIGMAS,
            gain=1.0,
        )
        obj = photometry.measure_objects(obj, difference, mask=hidden, err=noise, aper=fwhm)
        obj = obj[obj["flux"] > SIGMAS * obj["fluxerr"]]
        obj = pipeline.filter_transient_candidates(obj, sr=0.5 / 3600, skybot=False)
        header = wcs.to_header(relax=True)
        for candidate in obj:
            cutouts.get_cutout(
                planes["image"],
                candidate,
                20,
                mask=hidden,
                header=header,
                diff=difference,
                template=planes["template"],
            )
        return obj


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    # It calls SWarp by a name that Debian does not give it.
    if shutil.which("swarp") is None and shutil.which("SWarp"):
        (folder / "bin").mkdir(exist_ok=True)
        link = folder / "bin" / "swarp"
        link.unlink(missing_ok=True)
        link.symlink_to(str(shutil.which("SWarp")))
        os.environ["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
    flow = Flow(folder)
    obj = flow.run()
    names = ("x", "y", "flux", "fluxerr")
    np.savez(folder / "stdpipe.npz", **{name: np.asarray(obj[name], float) for name in names})
    (folder / "stdpipe.json").write_text(json.dumps(flow.stages))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
