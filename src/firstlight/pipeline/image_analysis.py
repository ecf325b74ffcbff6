"""From one image and a position on the sky to a calibrated magnitude."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from firstlight.algorithms.plate.quads import QuadTable
from firstlight.catalogs.base import ReferenceCatalog
from firstlight.errors import FirstlightError, InternalError, UserError
from firstlight.pipeline.image_analysis_frame import FRAME_STEPS
from firstlight.pipeline.image_analysis_result import STEPS, ImageAnalysisResult, StepReport
from firstlight.pipeline.image_analysis_sections import SectionSearch
from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings
from firstlight.pipeline.image_analysis_sky import plate_solve_image, zero_point
from firstlight.pipeline.image_analysis_target import OutsideImage, limit, target
from firstlight.pipeline.image_bench import Bench, RawImage
from firstlight.pipeline.sky_place import checked_place

__all__ = ["NotEnoughMemory", "analyse_image"]

OnStep = Callable[[StepReport], None]


class NotEnoughMemory(UserError):
    """The image needs more memory than an analysis may take."""

    code = "analysis.memory"

    @classmethod
    def of(cls, subject: str) -> NotEnoughMemory:
        """For one image."""
        return cls(subject=subject, hint="cut out the field around the target, or bin the image")


_WORK: dict[str, Callable[[Bench], dict[str, Any]]] = {
    **FRAME_STEPS,
    "plate_solve": plate_solve_image,
    "zero_point": zero_point,
    "target": target,
    "limit": limit,
}
# The limit is that of the image: it needs no target.
_NOT_NEEDED = {"limit": {"target"}}
# Where a section ends that is not the right one.
_SEARCHED = frozenset({"inspect", "sources", "plate_solve"})


def analyse_image(
    raw: RawImage,
    place: tuple[float, float],
    *,
    catalog: ReferenceCatalog,
    settings: ImageAnalysisSettings | None = None,
    quads: Callable[[], QuadTable] | None = None,
    on_step: OnStep | None = None,
    search: SectionSearch | None = None,
) -> Bench:
    """Measure the brightness at a place of the sky.

    Parameters
    ----------
    raw
        The image.
    place
        ICRS right ascension in [0, 360) and declination, degrees.
    catalog
        Reference stars.
    settings
        What is known better than by the header, and how to measure.
    quads
        Gives the index of the whole sky when a blind search needs it.
    on_step
        Told whenever a step changes its state. Where another section is tried, the steps begin
        again.
    search
        Of a file of several images: where to look after `raw`, if the target is not in there.

    Returns
    -------
    The bench with all the arrays (for plots), its `result` among them. A step that fails is
    recorded there, those that need it are skipped, and nothing is raised.

    Raises
    ------
    InvalidInput
        The place is not one.
    """
    ra, dec = checked_place(*place)
    settings = settings or ImageAnalysisSettings()
    while True:
        result = ImageAnalysisResult(name=raw.name, ra=ra, dec=dec, section=raw.section or None)
        bench = Bench(raw, settings, ra, dec, catalog, quads, result)
        following = _all_steps(bench, on_step, search)
        if following is None:
            return bench
        raw = following


def _all_steps(
    bench: Bench, on_step: OnStep | None, search: SectionSearch | None
) -> RawImage | None:
    """Do the steps in their order; returns the section to go on with, if this is the wrong one."""
    result = bench.result
    for number, name in enumerate(STEPS):
        report = result.step(name)
        missing = [
            before for before in STEPS[:number]
            if result.step(before).state != "done" and before not in _NOT_NEEDED.get(name, ())
        ]  # fmt: skip
        if missing:
            report.state, report.facts = "skipped", {"why": f"{missing[0]} was not done"}
            _say(on_step, report)
            continue
        report.state = "running"
        _say(on_step, report)
        _run(name, bench, report)
        if search is not None and (name in _SEARCHED or report.state == "failed"):
            following = _elsewhere(bench, name, search)
            if following is not None:
                return following
        _say(on_step, report)
    return None


def _elsewhere(bench: Bench, name: str, search: SectionSearch) -> RawImage | None:
    """The next section to try; where there is none left, what is wrong is told of all tried."""
    result = bench.result
    failed = result.step(name).state == "failed"
    fault = result.fault if failed else None
    if name in _SEARCHED and (failed or name == "plate_solve"):
        try:
            following = search.after(bench, fault)
        except FirstlightError as unread:
            result.fail(name, unread)
            return None
        if following is not None:
            return following
    is_nowhere = isinstance(fault, OutsideImage) or (name in _SEARCHED and bool(search.tried))
    if fault is not None and is_nowhere:
        result.fault = None
        result.fail(name, search.nowhere(bench, fault))
    return None


def _say(on_step: OnStep | None, report: StepReport) -> None:
    if on_step is not None:
        on_step(report)


def _run(name: str, bench: Bench, report: StepReport) -> None:
    begun = time.perf_counter()
    try:
        report.facts = _WORK[name](bench)
        report.state = "done"
    except FirstlightError as fault:
        bench.result.fail(name, fault)
    except MemoryError:
        bench.result.fail(name, NotEnoughMemory.of(bench.raw.name))
    except Exception as fault:  # noqa: BLE001, a fault in one image must not end the worker
        told = InternalError(f"{type(fault).__name__}: {fault}", subject=bench.raw.name)
        told.__cause__ = fault
        bench.result.fail(name, told)
    report.seconds = time.perf_counter() - begun
