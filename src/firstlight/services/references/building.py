"""Building references: what is to be made, and making one."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from firstlight.errors import MissingError
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.provenance import Provenance, Software
from firstlight.models.reference import Reference
from firstlight.models.sources import SourceList
from firstlight.models.zero_point import ZeroPoint
from firstlight.pipeline.build_reference import ReferenceBuilder, TooFewImages
from firstlight.pipeline.image_stack import SolvedImage
from firstlight.pipeline.recipe import Recipe
from firstlight.provenance.fingerprint import fingerprint
from firstlight.services.products import ProductFiles, save_rows
from firstlight.services.references.selection import (
    NOT_REDUCED,
    FieldImages,
    choose_images,
    find_fields,
)
from firstlight.services.references.wish import ReferenceWish
from firstlight.services.transaction_locks import lock_names
from firstlight.work.engine import JobRequest

__all__ = ["NothingToBuildFrom", "PlannedReference", "ReferenceBuilding", "ReferencePlan"]

MOST_REASONS = 8  # in one message


class NothingToBuildFrom(MissingError):
    """There is no science image of this field, camera, filter and time."""

    code = "reference.no_images"


@dataclass(frozen=True)
class PlannedReference:
    """One reference that is to be, is, or cannot be.

    Attributes
    ----------
    reference_id
        The id that it has, or will have; None for one that cannot be.
    images
        Names of the exposures, the one whose pixels it takes first.
    left_out
        Why, by the name of the exposure.
    """

    field: str
    instrument: str
    section: str
    filter: str | None
    reference_id: uuid.UUID | None
    is_there: bool
    images: tuple[str, ...]
    left_out: Mapping[str, str]

    @property
    def title(self) -> str:
        """In messages."""
        return ", ".join(filter(None, (self.field, self.instrument, self.section, self.filter)))


@dataclass(frozen=True)
class ReferencePlan:
    """What a wish comes to."""

    references: list[PlannedReference]
    requests: list[JobRequest] = field(default_factory=list)

    @property
    def impossible(self) -> list[PlannedReference]:
        """Those of too few images."""
        return [each for each in self.references if each.reference_id is None]


class ReferenceBuilding:
    """Plans and builds references.

    Parameters
    ----------
    database, files
        Rows and files.
    recipe
        Gives the recipe whose steps finish a coadd.
    """

    def __init__(
        self, *, database: Database, files: ProductFiles, recipe: Callable[[], Recipe]
    ) -> None:
        self._database = database
        self._files = files
        self._recipe = recipe

    def plan(self, wish: ReferenceWish) -> ReferencePlan:
        """One job for each field, section and filter whose reference is not there.

        The same images and parameters make the same reference, which is not made again.

        Raises
        ------
        NothingToBuildFrom
            No image fits the wish.
        TooFewImages
            Nowhere are there enough of them.
        """
        builder = ReferenceBuilder(self._recipe(), wish.method)
        plan = ReferencePlan([])
        with self._database.reading() as session:
            fields = find_fields(session, wish)
            if not fields:
                raise _nothing(session, wish)
            for there in fields:
                choose_images(there, wish)
                self._plan_one(session, builder, there, wish, plan)
        if len(plan.impossible) == len(plan.references):
            raise _too_few(plan.impossible, wish)
        return plan

    def _plan_one(
        self,
        session: Session,
        builder: ReferenceBuilder,
        there: FieldImages,
        wish: ReferenceWish,
        plan: ReferencePlan,
    ) -> None:
        zero_points = [each.zero_point.id for each in there.chosen]
        ident: uuid.UUID | None = None
        if len(zero_points) >= wish.min_images:
            ident = builder.expected_id(there.section_id, zero_points)
        is_there = ident is not None and session.get(Reference, ident) is not None
        names = tuple(each.name for each in there.chosen)
        plan.references.append(
            PlannedReference(
                there.name, there.instrument, there.section_id, there.filter, ident, is_there,
                names, there.left_out,
            )
        )  # fmt: skip
        if ident is None or is_there:
            return
        payload = {
            "field": there.name,
            "method": wish.method,
            "min_images": wish.min_images,
            "images": [str(each) for each in zero_points],
            "left_out": there.left_out,
        }
        plan.requests.append(
            JobRequest(f"reference-{fingerprint(str(ident))}", "build_reference", payload)
        )

    def build(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Build one reference and save it, with all that belongs to it, in one transaction.

        Returns
        -------
        dict
            ``reference`` and ``version``, which is the one before plus one.
        """
        builder = ReferenceBuilder(self._recipe(), payload["method"])
        with self._database.reading() as session:
            images = [_solved_image(session, uuid.UUID(ident)) for ident in payload["images"]]
        built = builder.build(payload["field"], images, payload["min_images"])
        row = built.reference
        row.measures = {**row.measures, "not_chosen": payload.get("left_out", {})}
        image = built.products[0]
        assert isinstance(image, Image)  # noqa: S101, the coadd is the first
        for product in built.products:
            self._files.write(product, image, _stem(row))
        with self._database.begin() as session:
            lock_names(session, f"references {row.instrument} {row.section_id} {row.field}")
            Software.record(session)
            Provenance.record(session, builder.lineage)
            before = session.get(Reference, row.id)
            if before is not None:
                return {"reference": str(before.id), "version": before.version}
            row.version = _next_version(session, row)
            save_rows(session, [*built.products, row])
            return {"reference": str(row.id), "version": row.version}


def _solved_image(session: Session, zero_point_id: uuid.UUID) -> SolvedImage:
    zero = session.get_one(ZeroPoint, zero_point_id)
    sources = session.get_one(SourceList, zero.sources_id)
    image = session.get_one(Image, sources.image_id)
    exposure = session.get_one(Exposure, image.exposure_id)
    wcs = session.get_one(WorldCoordinates, zero.wcs_id)
    return SolvedImage(exposure, image, sources, wcs, zero)


def _next_version(session: Session, row: Reference) -> int:
    band = Reference.filter.is_(None) if row.filter is None else Reference.filter == row.filter
    last = session.scalar(
        select(func.max(Reference.version)).where(
            Reference.instrument == row.instrument,
            Reference.section_id == row.section_id,
            Reference.field == row.field,
            band,
        )
    )
    return (last or 0) + 1


def _stem(row: Reference) -> str:
    """Beginning of the files' names: what a person may look for, in plain letters."""
    name = "-".join(filter(None, ("reference", row.field, row.filter)))
    return f"{re.sub(r'[^A-Za-z0-9+.-]+', '_', name)[:100]}.{row.section_id}"


def _nothing(session: Session, wish: ReferenceWish) -> NothingToBuildFrom:
    science = Exposure.kind == "science"
    targets = session.scalars(select(Exposure.target).where(science).distinct().limit(50))
    known = sorted(target for target in targets if target)
    asked = wish.model_dump(mode="json", include=_NARROWS, exclude_none=True)
    return NothingToBuildFrom(
        subject=", ".join(f"{name} {value}" for name, value in asked.items()) or None,
        expected=f"one of the fields {', '.join(known)}" if known else "reduced science exposures",
        hint="firstlight status shows what there is",
    )


_NARROWS = {"field", "filter", "instrument", "section", "first_night", "last_night"}


def _too_few(impossible: Sequence[PlannedReference], wish: ReferenceWish) -> TooFewImages:
    worst = max(impossible, key=lambda each: len(each.images))
    reasons = [f"{name}: {why}" for name, why in worst.left_out.items()]
    more = len(reasons) - MOST_REASONS
    waiting = NOT_REDUCED in worst.left_out.values()
    told = "; ".join(reasons[:MOST_REASONS]) + (f"; and {more} more" if more > 0 else "")
    return TooFewImages(
        subject=worst.title,
        found=f"{len(worst.images)}" + (f" ({told})" if told else ""),
        expected=f"at least {wish.min_images}",
        hint=(
            "firstlight reduce comes first"
            if waiting
            else "--min-images, --max-seeing, --min-depth and the dates say which are taken"
        ),
    )
