"""A tiny survey, and its truth as columns."""

from __future__ import annotations

import json

import numpy as np
from astropy.io import fits

from firstlight.algorithms.sky.projection import Projection
from firstlight.formats.tables import read_table
from firstlight.instruments import get_instrument_instance
from firstlight.simulation.survey_settings import SurveySettings

TINY = {
    "sections": 2,
    "rows": 256,
    "columns": 256,
    "nights": 2,
    "visits": 2,
    "transients": 4,
    "variables": 3,
    "moving": 3,
    "stars": 1500.0,
    "galaxies": 70.0,
    "trail_chance": 0.4,
}


def tiny(**changes: object) -> SurveySettings:
    return SurveySettings(**(TINY | changes))


def truth_of(folder, name):
    return read_table(folder / "truth" / f"{name}.parquet")


def true_projection(sections, row: int) -> Projection:
    return Projection.from_header(json.loads(str(sections["wcs"][row])))


def electrons_of(path, ccd):
    """The calibrated pixels of one CCD as somebody would make them who knows its flat."""
    header = fits.getheader(path, ccd.section)
    raw = fits.getdata(path, ccd.section).astype(float)
    halves = []
    for area in get_instrument_instance("SimulatedMosaic2").overscan_and_data_sections(header):
        level = raw[area.bias].mean(axis=1, keepdims=True)
        halves.append((raw[area.data] - level) * header[f"GAIN{area.name}"])
    pattern = np.hstack([a.bias_pattern * a.gain for a in ccd.amplifiers])
    return (np.hstack(halves) - pattern) / ccd.response
