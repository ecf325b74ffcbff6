"""Which service answers to which job. Called in worker processes, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from firstlight.factory.workspace import Factory

__all__ = [
    "analyse_uploaded_image",
    "build_reference",
    "finish_analyses",
    "forced_photometry",
    "make_colour_pictures",
    "make_master",
    "make_timelapse",
    "reduce_section",
    "register",
    "run_local_analysis",
    "send_analyses",
    "solve_light_curves",
    "stamp_light_curves",
    "start_worker",
    "take_arrivals",
]


def start_worker(workspace: str) -> Factory:
    """What each worker process does once."""
    return Factory.open(Path(workspace))


def make_master(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: one master calibration."""
    return factory.calibration.make_master(payload)


def reduce_section(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: one section of one exposure through the recipe."""
    return factory.reduction.reduce_section(payload)


def build_reference(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: the reference of one section of one field in one filter."""
    return factory.reference_building.build(payload)


def forced_photometry(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: followed objects in some differences."""
    return factory.forced_photometry.run(payload)


def register(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: the unsolved frames of one section of one observation onto the best one."""
    return factory.registration.register(payload)


def solve_light_curves(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: the light curves of one section of one observation."""
    return factory.light_curves.solve(payload)


def take_arrivals(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: files that have come into the archive."""
    return factory.arrivals.take(payload["arrivals"])


def stamp_light_curves(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: the stamps and light curves of one observation in colours."""
    return factory.stamp_light_curves.solve(payload)


def make_colour_pictures(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: the pictures of one exposure in colours."""
    return factory.colour_pictures.make_colour_pictures(payload)


def analyse_uploaded_image(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: photometry of an object in an image that somebody uploaded."""
    return factory.image_analysis_run.run(payload)


def make_timelapse(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: the movie of one observation in colours."""
    return factory.colour_pictures.make_timelapse(payload)


def run_local_analysis(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: one run of an analysis service that lives here."""
    return factory.local_runs.run(payload)


def send_analyses(payload: dict[str, Any], factory: Factory) -> bool:
    """Beside the web server: runs that are due, to their services."""
    from firstlight.services.analyses.run_sender import send_for_a_while  # noqa: PLC0415, rare

    factory.serving_at = payload["address"]
    return send_for_a_while(factory.run_queue)


def finish_analyses(payload: dict[str, Any], factory: Factory) -> None:  # noqa: ARG001, a handler
    """Beside the web server: wait for calls that are under way."""
    factory.run_queue.close()
