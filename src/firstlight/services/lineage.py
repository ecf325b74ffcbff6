"""Lineage: what an exposure or image is, what was made of it, and how each product was made."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, FirstlightError, MissingError
from firstlight.instruments.header_reader import plain_header
from firstlight.models.astrometry import Registration, WorldCoordinates
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.provenance import Product, Provenance, Software
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun, StepState
from firstlight.models.zero_point import ZeroPoint

__all__ = ["LineageService", "Node", "NotFound", "View"]


class NotFound(MissingError):
    """There is no exposure or image of this name."""

    code = "lineage.not_found"


class Ambiguous(ConflictError):
    """More than one exposure or image has this name."""

    code = "lineage.ambiguous"


@dataclass
class Node:
    """One product in the tree, with what was made of it below."""

    title: str
    facts: dict[str, Any] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "title": self.title,
            "facts": self.facts,
            "children": [child.as_dict() for child in self.children],
        }


@dataclass
class View:
    """What `show` shows."""

    title: str
    header: dict[str, Any]
    tree: Node
    images: list[tuple[Image, SourceList | None]]

    def draw(
        self, picture: Callable[[Image, SourceList | None, Path], None], path: Path
    ) -> list[Path]:
        """Draw every image, the first to `path`, others beside it under their section's name.

        Raises
        ------
        NotFound
            There is no image yet.
        """
        if not self.images:
            raise NotFound("it has no image yet", subject=self.title, hint="firstlight reduce")
        latest = {image.section_id: (image, sources) for image, sources in self.images}
        paths = []
        for number, (section, pair) in enumerate(latest.items()):
            paths.append(path if number == 0 else path.with_stem(f"{path.stem}-{section}"))
            picture(*pair, paths[-1])
        return paths

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"title": self.title, "header": self.header, "tree": self.tree.as_dict()}


class LineageService:
    """Answers where products come from and what was made of them.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def view(self, name: str) -> View:
        """Everything about one exposure or image.

        Parameters
        ----------
        name
            The end of a file name (``night.fits``), or an id.

        Raises
        ------
        NotFound, Ambiguous
            Nothing, or more than one, has this name.
        """
        with self._database.reading() as session:
            found = _find(session, name)
            if isinstance(found, Exposure):
                images = session.scalars(
                    select(Image)
                    .where(Image.exposure_id == found.id)
                    .order_by(Image.section_id, Image.created_at)
                ).all()
                tree = Node(f"Exposure {found.filename}", _exposure_facts(found))
                header = _header(found)
            else:
                images = [found]
                tree = _ancestors(session, found)
                header = dict(found.header)
            pairs: list[tuple[Image, SourceList | None]] = []
            for image in images:
                node, sources = _image_node(session, image)
                tree.children.append(node)
                pairs.append((image, sources))
            if isinstance(found, Exposure):
                tree.children += _failures(session, found.id)
            return View(tree.title, header, tree, pairs)


def _find(session: Session, name: str) -> Exposure | Image:
    try:
        ident = uuid.UUID(name)
    except ValueError:
        ident = None
    matches: list[Exposure | Image] = [
        *_exposures(session, name, ident),
        *_images(session, name, ident),
    ]
    if not matches:
        raise NotFound(subject=name, hint="firstlight status lists the exposures")
    if len(matches) > 1:
        names = ", ".join(f"{row.filename} ({row.id})" for row in matches)
        raise Ambiguous(subject=name, found=names, hint="give the id")
    return matches[0]


def _exposures(session: Session, name: str, ident: uuid.UUID | None) -> Sequence[Exposure]:
    by_name = Exposure.filename.endswith(f"/{name}", autoescape=True)
    wanted = Exposure.id == ident if ident else or_(Exposure.filename == name, by_name)
    return session.scalars(select(Exposure).where(wanted).limit(5)).all()


def _images(session: Session, name: str, ident: uuid.UUID | None) -> Sequence[Image]:
    by_name = Image.filename.endswith(f"/{name}", autoescape=True)
    wanted = Image.id == ident if ident else or_(Image.filename == name, by_name)
    return session.scalars(select(Image).where(wanted).limit(5)).all()


def _exposure_facts(exposure: Exposure) -> dict[str, Any]:
    return _known(
        {
            "id": exposure.id,
            "instrument": exposure.instrument,
            "kind": exposure.kind,
            "mjd": exposure.mjd,
            "exposure time": exposure.exp_time,
            "filter": exposure.filter,
            "sha256": exposure.sha256,
        }
    )


def _header(exposure: Exposure) -> dict[str, Any]:
    """The global header of the raw file; what the database knows of it where the file is away."""
    try:
        cards = plain_header(exposure.raw_header)
    except (FirstlightError, OSError):
        return dict(exposure.header or {})
    plain = (str, int, float, bool)
    return {key: value if isinstance(value, plain) else str(value) for key, value in cards.items()}


def _ancestors(session: Session, image: Image) -> Node:
    if image.exposure_id is None:
        return Node(f"Image {image.filename}", {"kind": image.kind})
    exposure = session.get_one(Exposure, image.exposure_id)
    return Node(f"Exposure {exposure.filename}", _exposure_facts(exposure))


def _image_node(session: Session, image: Image) -> tuple[Node, SourceList | None]:
    node = _product_node(session, image, f"Image {image.filename}")
    node.facts["section"] = image.section_id
    for name, facts in image.calibration.items():
        node.facts[name] = _correction(facts)
    for link in image.inputs:
        source = link.input_image_id or link.input_exposure_id
        if source not in (None, image.exposure_id):
            key = f"made of ({link.role})"
            before = f"{node.facts[key]}, " if key in node.facts else ""
            node.facts[key] = f"{before}{source}"
    chosen: SourceList | None = None
    for sources in session.scalars(select(SourceList).where(SourceList.image_id == image.id)):
        chosen = sources
        node.children.append(_sources_node(session, sources))
    return node, chosen


def _sources_node(session: Session, sources: SourceList) -> Node:
    node = _product_node(session, sources, f"SourceList {sources.filename}")
    node.facts["sources"] = sources.n_sources
    for wcs in session.scalars(
        select(WorldCoordinates).where(WorldCoordinates.sources_id == sources.id)
    ):
        child = _product_node(session, wcs, "WorldCoordinates")
        child.facts |= {
            "catalogue": wcs.catalog,
            "found": wcs.method,
            "matched": wcs.n_matched,
            "rms": f"{wcs.rms_arcsec:.3f}″ = {wcs.rms_pixels:.3f} px",
        }
        for zero_point in session.scalars(select(ZeroPoint).where(ZeroPoint.wcs_id == wcs.id)):
            grandchild = _product_node(session, zero_point, "ZeroPoint")
            grandchild.facts |= {
                "catalogue": zero_point.catalog,
                "zero point": f"{zero_point.zero_point:.4f} ± {zero_point.zero_point_err:.4f} "
                f"{zero_point.band} ({zero_point.system})",
                "stars": zero_point.n_stars,
            }
            child.children.append(grandchild)
        node.children.append(child)
    for row in session.scalars(select(Registration).where(Registration.sources_id == sources.id)):
        child = _product_node(session, row, "Registration")
        child.facts |= {"matched": row.n_matched, "rms": f"{row.rms_pixels:.3f} px"}
        node.children.append(child)
    return node


def _product_node(session: Session, product: Product, title: str) -> Node:
    provenance = session.get_one(Provenance, product.provenance_id)
    software = session.get_one(Software, product.software_id)
    return Node(
        title,
        {
            "id": str(product.id),
            "provenance": provenance.id,
            "step": f"{provenance.process} version {provenance.step_version}",
            "parameters": _sentence(provenance.parameters),
            "software": _sentence(software.versions),
        },
    )


def _failures(session: Session, exposure_id: uuid.UUID) -> list[Node]:
    runs = session.scalars(
        select(StepRun)
        .where(StepRun.exposure_id == exposure_id, StepRun.state == StepState.FAILED)
        .order_by(StepRun.section_id, StepRun.number)
    )
    return [
        Node(
            f"failed: {run.step} of section {run.section_id}",
            _known({key: value for key, value in (run.error or {}).items() if key != "traceback"}),
        )
        for run in runs
    ]


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: str(value) for key, value in facts.items() if value is not None}


def _correction(facts: Any) -> str:
    """One correction of an image: done or not, why, and its numbers."""
    if not isinstance(facts, dict) or "done" not in facts:
        return _sentence(facts)
    rest = {key: value for key, value in facts.items() if key not in ("done", "why")}
    told = [str(facts["why"])] if facts.get("why") else []
    told += [_sentence(rest)] if rest else []
    return "; ".join(["done" if facts["done"] else "not done", *told])


def _sentence(facts: Any) -> str:
    if isinstance(facts, dict):
        return ", ".join(f"{key} {_sentence(value)}" for key, value in facts.items())
    if isinstance(facts, list):
        return ", ".join(map(_sentence, facts))
    return str(facts)
