"""A tiny survey, and its truth as columns."""

from __future__ import annotations

import json

from firstlight.algorithms.sky.projection import Projection
from firstlight.formats.tables import read_table
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
    "stars": 1200.0,
    "trail_chance": 0.5,
}


def tiny(**changes: object) -> SurveySettings:
    return SurveySettings(**(TINY | changes))


def truth_of(folder, name):
    return read_table(folder / "truth" / f"{name}.parquet")


def true_projection(sections, row: int) -> Projection:
    return Projection.from_header(json.loads(str(sections["wcs"][row])))
