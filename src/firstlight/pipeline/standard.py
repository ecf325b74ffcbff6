"""The standard recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from firstlight.algorithms.plate.quads import QuadTable
from firstlight.catalogs.base import ReferenceCatalog
from firstlight.formats.solve_field import SolveField
from firstlight.pipeline.recipe import Recipe
from firstlight.pipeline.settings import RecipeSettings
from firstlight.pipeline.steps.find_sources import FindSources
from firstlight.pipeline.steps.preprocess import Preprocess
from firstlight.pipeline.steps.solve_astrometry import SolveAstrometry
from firstlight.pipeline.steps.solve_photometry import SolvePhotometry

__all__ = ["standard_recipe"]


def standard_recipe(
    settings: RecipeSettings,
    *,
    astrometry: ReferenceCatalog,
    photometry: ReferenceCatalog,
    quads: Callable[[], QuadTable] | None,
    instruments: Mapping[str, Mapping[str, float]] | None = None,
) -> Recipe:
    """Assemble preprocess, find_sources, solve_astrometry and solve_photometry.

    Parameters
    ----------
    settings
        Of all steps.
    astrometry, photometry
        Reference catalogues.
    quads
        Gives the index of the whole sky for blind searches.
    instruments
        Properties that the settings give to instruments, by instrument.
    """
    return Recipe(
        [
            Preprocess(settings.preprocess, instruments),
            FindSources(settings.find_sources),
            SolveAstrometry(
                settings.solve_astrometry, catalog=astrometry, quads=quads, other=SolveField()
            ),
            SolvePhotometry(settings.solve_photometry, catalog=photometry),
        ]
    )
