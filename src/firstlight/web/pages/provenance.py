"""Provenance: how one product was made, or what one set of parameters is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from firstlight.services.lineage_graph import ProductStory
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.pages.plots import draw_graph
from firstlight.web.pages.rendering import render

router = APIRouter(include_in_schema=False)


@router.get("/provenance/{key}")
def show_provenance(
    request: Request, asker: Asker, key: Annotated[str, Path(max_length=64)]
) -> Response:
    """One product by its id, or one provenance by its fingerprint."""
    story = services_of(request).lineage_graphs.story(key, asker)
    shared = {
        "key": key,
        "provenance": story.provenance,
        "parameters": _flat(story.provenance["parameters"]),
        "graph": draw_graph(story.graph, here=key),
    }
    if isinstance(story, ProductStory):
        facts: dict[str, Any] = {
            "title": story.title,
            "kind": story.kind,
            "facts": _flat(story.facts),
            "software": story.software,
            "exposure_id": story.exposure_id,
            "tags": (),
            "products": None,
        }
    else:
        facts = {
            "title": story.provenance["process"].replace("_", " ").capitalize(),
            "kind": "Provenance",
            "facts": [],
            "software": {},
            "exposure_id": None,
            "tags": story.tags,
            "products": story.products,
        }
    return render(request, "provenance.html", {**shared, **facts})


def _flat(values: Any, before: str = "") -> list[tuple[str, str]]:
    """Nested values as pairs of a dotted name and text."""
    if isinstance(values, dict):
        pairs = []
        for name, value in values.items():
            pairs += _flat(value, f"{before}.{name}" if before else str(name))
        return pairs
    if isinstance(values, list):
        values = ", ".join(map(str, values))
    return [(before, f"{values:.6g}" if isinstance(values, float) else str(values))]
