"""Lineage as a graph: what a product was made of, what was made of it, and how."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, inspect, select
from sqlalchemy.orm import Session

from firstlight.errors import MissingError
from firstlight.models.astrometry import Registration, WorldCoordinates
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image, ImageInput
from firstlight.models.photometry import LightCurveSet
from firstlight.models.provenance import Product, Provenance, ProvenanceTag, Software
from firstlight.models.sources import SourceList
from firstlight.models.zero_point import ZeroPoint
from firstlight.services.access import Viewer

__all__ = [
    "GraphNode",
    "LineageGraph",
    "LineageGraphService",
    "LineageMissing",
    "ProductStory",
    "ProvenanceStory",
]

_PRODUCTS: tuple[type[Product], ...] = (
    Image, SourceList, WorldCoordinates, Registration, ZeroPoint, LightCurveSet,
)  # fmt: skip
_TITLES = {
    "Image": "Image",
    "SourceList": "Sources",
    "WorldCoordinates": "Plate solution",
    "Registration": "Registration",
    "ZeroPoint": "Zero point",
    "LightCurveSet": "Light curves",
}
_MOST_NODES = 80


class LineageMissing(MissingError):
    """There is no such product or provenance, or none that one may see."""

    code = "lineage.missing"


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One thing in the graph.

    Attributes
    ----------
    key
        Id of the product, exposure or provenance.
    kind
        Name of its class.
    column
        How far it is from the raw data.
    told
        A few words below the title.
    """

    key: str
    kind: str
    title: str
    told: str
    column: int


@dataclass(slots=True)
class LineageGraph:
    """Nodes by their keys, in the order in which they were found, and edges from input to output.

    Attributes
    ----------
    left_out
        Whether there are more nodes than are told.
    """

    nodes: dict[str, GraphNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    left_out: bool = False

    def add(self, node: GraphNode, *inputs: object) -> None:
        """Add a node with edges from those inputs that are in the graph."""
        if len(self.nodes) >= _MOST_NODES and node.key not in self.nodes:
            self.left_out = True
            return
        self.nodes.setdefault(node.key, node)
        for each in inputs:
            edge = (str(each), node.key)
            if edge[0] in self.nodes and edge not in self.edges:
                self.edges.append(edge)


@dataclass(frozen=True, slots=True)
class ProductStory:
    """One product: how it was made, with what, and its place in the graph."""

    key: str
    kind: str
    title: str
    facts: dict[str, Any]
    provenance: dict[str, Any]
    software: dict[str, Any]
    exposure_id: uuid.UUID | None
    graph: LineageGraph


@dataclass(frozen=True, slots=True)
class ProvenanceStory:
    """One provenance: process, parameters, what is upstream, and how many products it made."""

    provenance: dict[str, Any]
    tags: tuple[str, ...]
    products: int
    graph: LineageGraph


class LineageGraphService:
    """Draws lineage for people.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def of_exposure(
        self, exposure_id: uuid.UUID, viewer: Viewer, *, section: str | None = None
    ) -> LineageGraph:
        """Everything made of an exposure, and the calibrations that took part.

        Parameters
        ----------
        section
            Of this section only.

        Raises
        ------
        LineageMissing
            There is no such exposure for this viewer.
        """
        with self._database.reading() as session:
            exposure = session.get(Exposure, exposure_id)
            if exposure is None or not viewer.may("read", exposure.site):
                raise LineageMissing(subject=exposure_id)
            images = select(Image).where(Image.exposure_id == exposure_id)
            if section is not None:
                images = images.where(Image.section_id == section)
            rows = session.scalars(images.order_by(Image.section_id, Image.created_at)).all()
            graph = LineageGraph()
            graph.add(_exposure_node(exposure))
            for image in rows:
                _add_image(session, graph, image, viewer)
        return graph

    def story(self, key: str, viewer: Viewer) -> ProductStory | ProvenanceStory:
        """One product by its id, or one provenance by its fingerprint.

        Raises
        ------
        LineageMissing
            There is none, or none that the viewer may see: the two are not told apart.
        """
        viewer.sites()
        with self._database.reading() as session:
            try:
                return _product_story(session, uuid.UUID(key), viewer)
            except ValueError:
                return _provenance_story(session, key)


def _product_story(session: Session, key: uuid.UUID, viewer: Viewer) -> ProductStory:
    found = next((row for table in _PRODUCTS if (row := session.get(table, key))), None)
    exposures = [] if found is None else _exposures_of(session, found)
    if found is None or not any(viewer.may("read", each.site) for each in exposures):
        raise LineageMissing(subject=key)
    provenance = session.get_one(Provenance, found.provenance_id)
    software = session.get_one(Software, found.software_id)
    graph = LineageGraph()
    image = _image_of(session, found)
    if image is not None:
        if image.exposure_id is not None:
            graph.add(_exposure_node(session.get_one(Exposure, image.exposure_id)))
        _add_image(session, graph, image, viewer)
    node = _node(found, 0)
    own = image.exposure_id if image is not None else None
    return ProductStory(
        str(key), node.kind, f"{node.title} {node.told}".strip(), _facts(found),
        _told(provenance), dict(software.versions), own, graph,
    )  # fmt: skip


def _provenance_story(session: Session, key: str) -> ProvenanceStory:
    found = session.get(Provenance, key) if key.isascii() and len(key) <= 26 else None
    if found is None:
        raise LineageMissing(subject=ascii(key)[:80])
    tags = session.scalars(select(ProvenanceTag.tag).where(ProvenanceTag.provenance_id == key))
    products = sum(
        session.scalar(select(func.count()).where(table.provenance_id == key)) or 0
        for table in _PRODUCTS
    )
    graph = LineageGraph()
    depth = _depths(found)
    for row in sorted(depth, key=lambda row: depth[row]):
        node = GraphNode(
            row.id, "Provenance", row.process, f"version {row.step_version}", depth[row]
        )
        graph.add(node, *(up.id for up in row.upstreams))
    return ProvenanceStory(_told(found), tuple(sorted(set(tags))), products, graph)


def _depths(row: Provenance) -> dict[Provenance, int]:
    """How many provenances lie upstream of each, on the longest way."""
    depth: dict[Provenance, int] = {}

    def visit(each: Provenance) -> int:
        if each not in depth:
            depth[each] = 1 + max((visit(up) for up in each.upstreams), default=-1)
        return depth[each]

    visit(row)
    return depth


def _add_image(session: Session, graph: LineageGraph, image: Image, viewer: Viewer) -> None:
    """Add an image, the calibrations it was made with, and all that was made of it."""
    inputs: list[object] = [image.exposure_id]
    for link in image.inputs:
        master = session.get(Image, link.input_image_id) if link.input_image_id else None
        if master is not None and master.id != image.id:
            graph.add(_node(master, 0))
            inputs.append(master.id)
        elif link.input_exposure_id is not None and link.input_exposure_id != image.exposure_id:
            exposure = session.get(Exposure, link.input_exposure_id)
            if exposure is not None and viewer.may("read", exposure.site):
                graph.add(_exposure_node(exposure))
                inputs.append(exposure.id)
    graph.add(_node(image, 1), *inputs)
    for sources in session.scalars(select(SourceList).where(SourceList.image_id == image.id)):
        graph.add(_node(sources, 2), image.id)
        of_sources = [
            *session.scalars(
                select(WorldCoordinates).where(WorldCoordinates.sources_id == sources.id)
            ),
            *session.scalars(select(Registration).where(Registration.sources_id == sources.id)),
        ]
        for row in of_sources:
            graph.add(_node(row, 3), sources.id)
        for zero in session.scalars(select(ZeroPoint).where(ZeroPoint.sources_id == sources.id)):
            graph.add(_node(zero, 4), sources.id, zero.wcs_id)
            _add_light_curves(session, graph, image, zero.id)


def _add_light_curves(
    session: Session, graph: LineageGraph, image: Image, zero_point_id: uuid.UUID
) -> None:
    observation = select(Exposure.observation_id).where(Exposure.id == image.exposure_id)
    sets = session.scalars(
        select(LightCurveSet)
        .where(
            LightCurveSet.observation_id == observation.scalar_subquery(),
            LightCurveSet.section_id == image.section_id,
        )
        .order_by(LightCurveSet.created_at.desc())
        .limit(1)
    )
    for row in sets:
        graph.add(_node(row, 5), zero_point_id)


def _image_of(session: Session, row: Product) -> Image | None:
    """The image that a product belongs to; None for light curves, which have many."""
    if isinstance(row, Image):
        return row
    if isinstance(row, SourceList):
        return session.get_one(Image, row.image_id)
    if isinstance(row, WorldCoordinates | Registration | ZeroPoint):
        return session.get_one(Image, session.get_one(SourceList, row.sources_id).image_id)
    return None


def _exposures_of(session: Session, row: Product) -> Sequence[Exposure]:
    """Exposures that a product was made of; who may see one of them may see it."""
    if isinstance(row, LightCurveSet):
        query = select(Exposure).where(Exposure.observation_id == row.observation_id).limit(50)
        return session.scalars(query).all()
    image = _image_of(session, row)
    if image is None:
        return []
    if image.exposure_id is not None:
        return [session.get_one(Exposure, image.exposure_id)]
    ids = _inputs(session, {image.id})
    return session.scalars(select(Exposure).where(Exposure.id.in_(ids))).all()


def _inputs(session: Session, images: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Exposures behind a master, through the masters that it was made with."""
    found: set[uuid.UUID] = set()
    seen: set[uuid.UUID] = set()
    wanted = set(images)
    while wanted:
        seen |= wanted
        links = session.scalars(select(ImageInput).where(ImageInput.image_id.in_(wanted))).all()
        found |= {link.input_exposure_id for link in links if link.input_exposure_id}
        wanted = {link.input_image_id for link in links if link.input_image_id} - seen
    return found


def _exposure_node(row: Exposure) -> GraphNode:
    return GraphNode(str(row.id), "Exposure", "Exposure", row.label or row.name, 0)


def _node(row: Product, column: int) -> GraphNode:
    kind = type(row).__name__
    title, told = _TITLES[kind], ""
    if isinstance(row, Image):
        title = "Image" if row.kind == "science" else row.kind.replace("_", " ")
        title, told = title.capitalize(), f"section {row.section_id}"
    elif isinstance(row, SourceList):
        told = f"{row.n_sources} found"
    elif isinstance(row, WorldCoordinates):
        told = f"{row.rms_arcsec:.2f}″, {row.n_matched} stars"
    elif isinstance(row, Registration):
        told = f"{row.rms_pixels:.2f} px, {row.n_matched} stars"
    elif isinstance(row, ZeroPoint):
        told = f"{row.zero_point:.3f} ± {row.zero_point_err:.3f} {row.band}"
    elif isinstance(row, LightCurveSet):
        told = f"{row.n_stars} stars, {row.n_images} images"
    return GraphNode(str(row.id), kind, title, told, column)


def _told(row: Provenance) -> dict[str, Any]:
    return {
        "id": row.id,
        "process": row.process,
        "step_version": row.step_version,
        "parameters": row.parameters,
        "upstreams": [{"id": up.id, "process": up.process} for up in row.upstreams],
        "created_at": row.created_at,
    }


_UNTOLD = frozenset(
    {"id", "provenance_id", "software_id", "filename", "filename_extensions", "header", "hpx",
     "cards", "summary", "measures", "calibration"}
)  # fmt: skip


def _facts(row: Product) -> dict[str, Any]:
    """Its columns, without what is long or says where files lie."""
    columns = inspect(type(row)).column_attrs
    values = {column.key: getattr(row, column.key) for column in columns}
    return {name: v for name, v in values.items() if name not in _UNTOLD and v is not None}
