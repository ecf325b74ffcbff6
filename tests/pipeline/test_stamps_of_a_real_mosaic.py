"""The public PANOPTES frame: solved, matched to Tycho-2, and cut into stamps."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from firstlight.catalogs.tycho2 import Tycho2
from firstlight.instruments import panoptes  # noqa: F401, registers the camera
from firstlight.models.data_root import configure_data_roots
from firstlight.models.exposure import Exposure
from firstlight.pipeline.catalogue_stars import SolvedFrame, catalogue_stars
from firstlight.pipeline.settings import RecipeSettings
from firstlight.pipeline.stamp_light_curves import MosaicFrame, cut_observation
from firstlight.pipeline.standard import standard_recipe
from firstlight.pipeline.step import Calibrations, Workpiece


@pytest.mark.sample
def test_most_stars_of_the_catalogue_are_found_and_in_the_middle_of_their_stamps(samples, tmp_path):
    shutil.copy(samples / "panoptes" / "unsolved.fits", tmp_path)
    configure_data_roots(tmp_path)
    catalog = Tycho2()
    piece = Workpiece(Exposure("unsolved.fits"), "G", Calibrations({}, {}))
    recipe = standard_recipe(RecipeSettings(), astrometry=catalog, photometry=catalog, quads=None)
    recipe.run(piece, {})
    assert piece.wcs is not None
    camera, header = piece.exposure.instrument_object, dict(piece.exposure.raw_header)
    projection, table = piece.wcs.projection, piece.sources.table

    def sky_to_pixel(ra, dec):
        return camera.mosaic_position(header, "G", *projection.sky_to_pixel(ra, dec))

    x, y = camera.mosaic_position(header, "G", table["x"], table["y"])
    near = catalog.cone(piece.wcs.ra, piece.wcs.dec, piece.wcs.radius, epoch=2016.7)
    frame = SolvedFrame((700, 700), piece.wcs.pixel_scale / 2, sky_to_pixel, x, y)
    stars = catalogue_stars([frame], near.ra, near.dec, radius=25.0, edge=10.0, coverage=1.0)
    assert len(stars.rows) >= 250

    raw = camera.load_mosaic(piece.exposure.get_fullpath(as_list=True)).astype(np.float32)
    mosaic = MosaicFrame(
        "one", piece.exposure.mjd, (raw - 2048) * 1.5, stars.x[:, 0], stars.y[:, 0]
    )
    stamps = cut_observation([mosaic], camera.pattern_of(header), 2.0)
    assert stamps.usable.sum() >= 250
    assert (stamps.ymin % 2 == 0).all()
    assert (stamps.xmin % 2 == 0).all()
    # In the typical stamp the light is in the middle: the brightest pixel is within two of it.
    typical = np.median(
        stamps.pixels[:, 0] / stamps.pixels[:, 0].max(axis=(1, 2), keepdims=True), 0
    )
    row, column = np.unravel_index(np.argmax(typical), typical.shape)
    assert max(abs(row - (stamps.side - 1) / 2), abs(column - (stamps.side - 1) / 2)) <= 1.5
    assert np.median(stamps.sky[:, 0], axis=0) == pytest.approx([180, 270, 210], rel=0.4)
