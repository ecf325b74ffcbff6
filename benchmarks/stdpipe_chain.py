"""Raw section to zero point by STDPipe, as its notebooks do it. Called by `run.py`.

Usage: ``python stdpipe_chain.py OUT CASE...``: the first case is also run once unmeasured.

Calibration is plain numpy, cheaper than any of the packages. Reference stars are given as a
table in memory. Where the header has no projection, its blind matching (solve-field) finds one
near the header's pointing.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from scipy.ndimage import uniform_filter1d
from stdpipe import astrometry, photometry, pipeline

from meter import metered

SATURATED = 0.95  # of the header's level
BRIGHT, MANY = 100, 100  # signal to noise; reference stars that bear a third order
DEBLENDED = 2  # without these no star is left on the real frames
UNUSABLE = 1  # firstlight's flag of a bad pixel, as in the masters


class Chain:
    """One case, step by step; `stages` holds what each cost."""

    def __init__(self, folder: Path) -> None:
        self.case = json.loads((folder / "case.json").read_text())
        self.masters = {name: np.load(folder / f"{name}.npz") for name in self.case["masters"]}
        self.masters = {name: dict(file) for name, file in self.masters.items()}
        self.catalog = Table.read(folder / "stars.fits")
        self.stages: dict[str, float] = {}
        self.wcs: WCS | None = None
        self.obj: Table | None = None

    def timed(self, name: str, function):
        with metered() as spent:
            result = function()
        self.stages[name] = spent.cpu
        return result

    def calibrate(self) -> tuple[np.ndarray, np.ndarray, float | None]:
        """Electrons, bad pixels, and the level of saturation in electrons."""
        case, masters = self.case, self.masters
        with fits.open(case["raw"]) as hdus:
            raw = hdus[case["hdu"]].data.astype(np.float32)
        image = raw[slice(*case["rows"]), slice(*case["columns"])]
        level = 0.0
        if case["overscan"]:
            strip = raw[slice(*case["rows"]), slice(*case["overscan"])]
            along = uniform_filter1d(np.median(strip, axis=1), 51)
            image = image - along[:, None]
            level = float(np.median(along))
        bad = np.zeros(image.shape, bool)
        if "bias" in masters:
            image = image - masters["bias"]["data"]
        image = image * np.float32(case["gain"])
        for role in ("dark", "static_level"):
            if role in masters:
                image = image - masters[role]["data"] * np.float32(case["exposure_time"])
                bad |= (masters[role]["flags"] & UNUSABLE) != 0
        if "flat" in masters:
            image = image / masters["flat"]["data"]
        full = case["saturation"]
        return image, bad, None if full is None else (SATURATED * full - level) * case["gain"]

    def run(self) -> dict | None:
        image, bad, full = self.timed("calibrate", self.calibrate)
        mask = self.timed(
            "mask",
            lambda: pipeline.make_mask(
                image,
                saturation=full,
                external_mask=bad,
                mask_cosmics=True,
                gain=1.0,
                verbose=False,
            ),
        )
        obj = self.timed(
            "extract",
            lambda: photometry.get_objects_sextractor(
                image, mask=mask, aper=3.0, gain=1.0, edge=10
            ),
        )
        wcs = self.timed("blind match", lambda: self.find(obj, image.shape))
        if wcs is None:
            self.obj = obj
            return None
        self.wcs = self.timed("refine", lambda: self.refine(obj, wcs)) or wcs
        obj = self.timed("measure", lambda: self.measure(obj, image, mask))
        obj["ra"], obj["dec"] = self.wcs.all_pix2world(obj["x"], obj["y"], 0)
        self.obj = obj
        return self.timed("zero point", lambda: self.calibrated(obj))

    def calibrated(self, obj: Table) -> dict | None:
        return pipeline.calibrate_photometry(
            obj,
            self.catalog,
            sr=1.5 * self.case["scale"] / 3600,
            cat_col_mag="VTmag",
            cat_col_mag_err="e_VTmag",
            accept_flags=DEBLENDED,
        )

    def find(self, obj: Table, shape: tuple[int, int]) -> WCS | None:
        case = self.case
        return astrometry.blind_match_objects(
            obj,
            order=2,
            width=shape[1],
            height=shape[0],
            center_ra=case["ra"],
            center_dec=case["dec"],
            radius=3.0,
            scale_lower=0.8 * case["scale"],
            scale_upper=1.2 * case["scale"],
        )

    def refine(self, obj: Table, wcs: WCS) -> WCS | None:
        # With all detections, far deeper than the catalogue, its matching goes astray.
        bright = obj[obj["flux"] > BRIGHT * obj["fluxerr"]]
        return pipeline.refine_astrometry(
            bright,
            self.catalog,
            sr=5 * self.case["scale"] / 3600,
            wcs=wcs,
            order=3 if self.references(wcs) > MANY else 2,
            cat_col_mag="VTmag",
            cat_col_mag_err="e_VTmag",
            method="quadhash",
        )

    def references(self, wcs: WCS) -> int:
        """Stars of the catalogue in the frame."""
        ny, nx = (stop - start for start, stop in (self.case["rows"], self.case["columns"]))
        x, y = wcs.all_world2pix(self.catalog["RAJ2000"], self.catalog["DEJ2000"], 0, quiet=True)
        return int(((x > 0) & (x < nx) & (y > 0) & (y < ny)).sum())

    def measure(self, obj: Table, image: np.ndarray, mask: np.ndarray) -> Table:
        fwhm = float(photometry.estimate_fwhm_from_objects(obj))
        return photometry.measure_objects(
            obj, image, mask=mask, fwhm=fwhm, aper=1.5, bkgann=(5, 7), gain=1.0
        )


def answer(chain: Chain, found: dict | None, place: Path) -> dict:
    facts: dict = {"stages": chain.stages, "failed": None}
    obj = chain.obj
    mag = obj["mag_calib"] if "mag_calib" in obj.colnames else obj["mag"]
    np.savez(place.with_suffix(".npz"), x=obj["x"], y=obj["y"], mag=np.asarray(mag))
    if chain.wcs is None:
        facts["failed"] = "no projection"
        return facts
    header = chain.wcs.to_header(relax=True)
    header.totextfile(place.with_suffix(".hdr"), overwrite=True)
    if not found:
        facts["failed"] = "no zero point"
        return facts
    facts["zero_point"] = float(np.nanmedian(np.asarray(obj["mag_calib"] - obj["mag"])))
    return facts


def main(out: Path, folders: list[Path]) -> None:
    warnings.simplefilter("ignore")
    for number, folder in enumerate([folders[0], *folders]):
        chain = Chain(folder)
        place = out / folder.name
        fault, found = None, None
        with metered() as spent:
            try:
                found = chain.run()
            except Exception as problem:  # noqa: BLE001, a fault of the peer is a figure here
                fault = f"{type(problem).__name__}: {problem}"
        if number:
            facts = {"failed": fault} if chain.obj is None else answer(chain, found, place)
            facts |= {"cpu": spent.cpu, "wall": spent.wall, "stages": chain.stages}
            facts["failed"] = fault or facts["failed"]
            place.with_suffix(".json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
