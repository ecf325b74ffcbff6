"""Which images make which reference: fields, and in each the best images."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.algorithms.coaddition.coadd import choose_frames
from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun, StepState
from firstlight.models.zero_point import ZeroPoint
from firstlight.pipeline.image_stack import SolvedImage
from firstlight.services.references.wish import ReferenceWish

__all__ = ["NOT_REDUCED", "FieldImages", "choose_images", "find_fields"]

NOT_REDUCED = "it is not reduced yet"
SAME_FIELD = 0.5  # of an image's radius between the middles of images of one field
ENOUGH = 0.98  # of what all images tell of faint stars: what the rest adds is not worth its time
PRODUCTS: dict[str, type[Any]] = {
    "preprocess": Image,
    "find_sources": SourceList,
    "solve_astrometry": WorldCoordinates,
    "solve_photometry": ZeroPoint,
}


@dataclass
class FieldImages:
    """Images of one field, section and filter by one camera.

    Attributes
    ----------
    chosen
        The most telling first.
    left_out
        Why, by the name of the exposure.
    """

    name: str
    instrument: str
    section_id: str
    filter: str | None
    images: list[SolvedImage] = field(default_factory=list)
    chosen: list[SolvedImage] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


_Key = tuple[str, str, str, str, str]  # camera, section, filter, binning, target


def find_fields(session: Session, wish: ReferenceWish) -> list[FieldImages]:
    """All fields of which there are images that are asked for, by name; nothing chosen yet."""
    exposures = {row.id: row for row in session.scalars(_exposures(wish))}
    solved, others = _solved(session, exposures, wish)
    found: list[FieldImages] = []
    for key in sorted(solved.keys() | others.keys()):
        target = key[-1]
        clusters = _clusters(solved.get(key, [])) or [[]]
        several = len([*clusters]) > 1 or not target
        for images in clusters:
            name = _place_name(target, images[0].wcs) if several and images else target
            if wish.field is not None and wish.field not in {target, name}:
                continue
            there = FieldImages(name or "no target", key[0], key[1], key[2] or None, images)
            there.left_out |= others.get(key, {})
            found.append(there)
    return found


def choose_images(there: FieldImages, wish: ReferenceWish) -> None:
    """Choose by seeing and depth, as `choose_frames` does; sets what is left out, and why."""
    fit = []
    for each in there.images:
        why = _against(each, wish)
        if why:
            there.left_out[each.name] = why
        else:
            fit.append(each)
    if not fit:
        return
    widths = [(each.sources.fwhm or 0.0) * each.wcs.pixel_scale for each in fit]
    noise = [each.sources.noise for each in fit]
    best = max(each.zero_point.zero_point for each in fit)
    scales = [10.0 ** (0.4 * (each.zero_point.zero_point - best)) for each in fit]
    found = choose_frames(widths, noise, scales, at_most=wish.max_images, enough=ENOUGH)
    if len(found.frames) < wish.min_images:
        found = choose_frames(widths, noise, scales, at_most=wish.min_images, enough=1.0)
    taken = [int(n) for n in found.frames]
    there.chosen = [fit[n] for n in taken]
    for n in sorted(set(range(len(fit))) - set(taken)):
        there.left_out[fit[n].name] = "the others tell nearly all without it"


def _against(each: SolvedImage, wish: ReferenceWish) -> str:
    if not each.sources.fwhm:
        return "its seeing is not known"
    seeing = each.sources.fwhm * each.wcs.pixel_scale
    if wish.max_seeing is not None and seeing > wish.max_seeing:
        return f'seeing {seeing:.2f}" is worse than {wish.max_seeing:g}"'
    depth = each.zero_point.limiting_magnitude
    if wish.min_depth is not None and (depth is None or depth < wish.min_depth):
        return f"depth {'unknown' if depth is None else f'{depth:.2f}'}, not {wish.min_depth:g}"
    return ""


def _exposures(wish: ReferenceWish) -> Any:
    query = select(Exposure).where(Exposure.kind == "science", Exposure.filename.is_not(None))
    if wish.instrument is not None:
        query = query.where(Exposure.instrument == wish.instrument)
    if wish.first_night is not None:
        query = query.where(Exposure.night >= wish.first_night)
    if wish.last_night is not None:
        query = query.where(Exposure.night <= wish.last_night)
    return query.order_by(Exposure.mjd, Exposure.id)


def _solved(
    session: Session, exposures: dict[uuid.UUID, Exposure], wish: ReferenceWish
) -> tuple[dict[_Key, list[SolvedImage]], dict[_Key, dict[str, str]]]:
    """Sections that went through the recipe, in order of time, and why others did not."""
    runs: dict[tuple[uuid.UUID, str], dict[str, StepRun]] = defaultdict(dict)
    for run in session.scalars(select(StepRun).where(StepRun.step.in_(PRODUCTS))):
        if run.exposure_id in exposures and wish.section in {None, run.section_id}:
            runs[run.exposure_id, run.section_id][run.step] = run
    products = {step: _products(session, step, model) for step, model in PRODUCTS.items()}
    solved: dict[_Key, list[SolvedImage]] = defaultdict(list)
    others: dict[_Key, dict[str, str]] = defaultdict(dict)
    order = {ident: number for number, ident in enumerate(exposures)}
    for (ident, section_id), steps in sorted(runs.items(), key=lambda one: order[one[0][0]]):
        exposure = exposures[ident]
        made: dict[str, Any] = {
            step: products[step].get(run.product_id) for step, run in steps.items()
        }
        image = made.get("preprocess")
        band = image.filter if image is not None else exposure.filter
        if wish.filter not in {None, band}:
            continue
        key = (
            exposure.instrument, section_id, band or "", exposure.binning, exposure.target or "",
        )  # fmt: skip
        if all(made.get(step) is not None for step in PRODUCTS):
            parts = [made[step] for step in PRODUCTS]
            solved[key].append(SolvedImage(exposure, *parts))
        else:
            others[key][exposure.name] = _why_not(steps.values())
    _tell_unreduced(exposures, {ident for ident, _ in runs}, wish, others)
    return solved, others


def _products(session: Session, step: str, model: type[Any]) -> dict[uuid.UUID | None, Any]:
    query = (
        select(model)
        .join(StepRun, StepRun.product_id == model.id)
        .where(StepRun.step == step, StepRun.state == StepState.DONE.value)
    )
    return {row.id: row for row in session.scalars(query)}


def _why_not(runs: Iterable[StepRun]) -> str:
    failed = [run for run in runs if run.state == StepState.FAILED.value]
    if not failed:
        return NOT_REDUCED
    return f"{failed[0].step}: {(failed[0].error or {}).get('message', 'failed')}"


def _tell_unreduced(
    exposures: dict[uuid.UUID, Exposure],
    begun: set[uuid.UUID],
    wish: ReferenceWish,
    others: dict[_Key, dict[str, str]],
) -> None:
    for ident, exposure in exposures.items():
        if ident in begun or wish.filter not in {None, exposure.filter}:
            continue
        for section_id in map(str, exposure.instrument_object.get_section_ids()):
            if wish.section in {None, section_id}:
                key = (
                    exposure.instrument, section_id, exposure.filter or "", exposure.binning,
                    exposure.target or "",
                )  # fmt: skip
                others[key][exposure.name] = NOT_REDUCED


def _clusters(images: Sequence[SolvedImage]) -> list[list[SolvedImage]]:
    """By place: a target may be the name of a whole survey."""
    found: list[list[SolvedImage]] = []
    for each in images:
        near = [one for one in found if _apart(one[0].wcs, each.wcs) < SAME_FIELD * each.wcs.radius]
        if near:
            near[0].append(each)
        else:
            found.append([each])
    return found


def _apart(one: WorldCoordinates, other: WorldCoordinates) -> float:
    if one.ra is None or one.dec is None or other.ra is None or other.dec is None:
        return 180.0
    return float(angular_separation(one.ra, one.dec, other.ra, other.dec))


def _place_name(target: str, wcs: WorldCoordinates) -> str:
    return f"{target} {wcs.ra or 0.0:.2f}{wcs.dec or 0.0:+.2f}".strip()
