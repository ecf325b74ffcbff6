"""What follows the standard recipe where there is a reference."""

from __future__ import annotations

from firstlight.pipeline.recipe import Recipe
from firstlight.pipeline.settings import RecipeSettings
from firstlight.pipeline.steps.find_changes import FindChanges
from firstlight.pipeline.steps.fit_psf import FitPsf
from firstlight.pipeline.steps.measure_changes import MeasureChanges
from firstlight.pipeline.steps.subtract import Subtract

__all__ = ["change_recipe"]


def change_recipe(settings: RecipeSettings, standard: Recipe) -> Recipe:
    """Assemble fit_psf, subtract, find_changes and measure_changes.

    Parameters
    ----------
    settings
        Of all steps.
    standard
        The recipe whose products it takes.
    """
    return Recipe(
        [
            FitPsf(),
            Subtract(settings.subtract),
            FindChanges(settings.find_changes, method=settings.subtract.method),
            MeasureChanges(settings.measure_changes),
        ],
        before=standard,
    )
