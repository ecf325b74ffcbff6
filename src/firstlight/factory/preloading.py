"""What workers need loaded, named and begun before anything else is loaded here."""

from __future__ import annotations

from pathlib import Path

from firstlight.config import FILE_NAME
from firstlight.work.pool import load_modules

__all__ = ["PRELOADED", "preload_workers"]

# Imported once by the process that forks the workers: what makes the parts that `jobs` asks for.
PRELOADED = (
    "firstlight.factory.jobs",
    "firstlight.services.reduction",
    "firstlight.pipeline.standard",
    "firstlight.catalogs.registry",
    "firstlight.services.light_curves",
    "firstlight.services.intake.arrivals",
    "firstlight.services.image_analysis.image_analysis_run",
    "firstlight.services.analyses.delivery",
    "firstlight.services.colour_pictures",
    "firstlight.services.references.building",
    "firstlight.services.registration",
    "firstlight.services.stamp_light_curves",
    "firstlight.services.transients.association",
    "firstlight.services.transients.forced_photometry",
)


def preload_workers(workspace: Path) -> None:
    """Begin to load what workers need, beside what this process loads; does not wait.

    For a command that will have workers. Where there is no workspace, nothing is begun.
    """
    if (workspace / FILE_NAME).exists():
        load_modules(PRELOADED)
