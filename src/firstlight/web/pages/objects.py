"""Pages of objects: the list, one object, its light curve and table of points."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import RedirectResponse

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.errors import FirstlightError, InvalidInput, MissingError
from firstlight.services.access import Viewer
from firstlight.services.analyses.declared_parameters import form_fields
from firstlight.services.objects.light_curve_picture import draw_light_curve
from firstlight.services.objects.object_list import ObjectPage
from firstlight.services.objects.object_parts import Include
from firstlight.services.objects.object_query import ObjectQuery, Order
from firstlight.services.objects.saved_objects import SavedWhen
from firstlight.services.objects.spectra_rows import SpectrumForm
from firstlight.services.scanning.candidate_query import CandidateQuery
from firstlight.services.star_light_curve import parse_target
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import told
from firstlight.web.pages.rendering import read_together, render
from firstlight.web.pages.sexagesimal import sexagesimal

router = APIRouter(include_in_schema=False)

ObjectName = Annotated[str, Path(max_length=128)]
Number = Annotated[int, Path(ge=0, le=2**63 - 1)]

_ROWS = 50
_COUNTED = 500
_NEAR = 200  # objects around a place that are put in order of their distance
_RUNS = 20
_CHANGES = 3
_DEFAULT_SORT = "-created_at"
_RADIUS_ARCMIN = 5.0
_EVERYTHING = Include(comments=True, statistics=True, thumbnails=True)
_EXPORTS = {"csv": "CSV", "parquet": "Parquet", "arrow": "Arrow"}
_INERT = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


@router.get("/search")
def search(
    request: Request, asker: Asker, q: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    """Go to the object of a name, the objects near a position, or those with such a name."""
    words = q.strip()
    if not words:
        return RedirectResponse("/objects", 303)
    if _position(words) is not None:
        return RedirectResponse(f"/objects?{urlencode({'position': words})}", 303)
    try:
        services_of(request).objects.position(asker, words)
    except MissingError:
        return RedirectResponse(f"/objects?{urlencode({'name': words})}", 303)
    return RedirectResponse(object_address(words), 303)


@router.get("/objects")
@read_together
def list_objects(request: Request, asker: Asker) -> Response:
    """Objects, searched and sorted, page by page."""
    asked = {name: value.strip()[:200] for name, value in request.query_params.items()}
    services, wrong = services_of(request), None
    page, total, away = ObjectPage(), 0, None
    try:
        query = _query(asked)
        page = _page(request, asker, query, asked)
        total = page.total or 0
        if _by_distance(asked) and page.next_cursor is None and page.rows:
            page, away = _nearest_first(page, query)
    except (InvalidInput, ValueError) as fault:
        wrong = told(fault) if isinstance(fault, FirstlightError) else {"message": str(fault)}
    kept = {n: v for n, v in asked.items() if v and n not in ("cursor", "sort")}
    sort = {"sort": asked["sort"]} if asked.get("sort") else {}
    base = f"/objects?{urlencode(kept)}{'&' if kept else ''}"
    following = urlencode({**kept, **sort, "cursor": page.next_cursor or ""})
    facts = {
        "asked": asked,
        "searching": bool(kept),
        "wrong": wrong,
        "rows": [{"row": row, "place": sexagesimal(row.ra, row.dec)} for row in page.rows],
        "away": away,
        "total": f"{total}{'+' if total >= _COUNTED else ''} object{'' if total == 1 else 's'}",
        "sort": (asked.get("sort") or _DEFAULT_SORT) if away is None else None,
        "sort_base": base,
        "first": f"/objects?{urlencode({**kept, **sort})}" if asked.get("cursor") else None,
        "next": f"/objects?{following}" if page.next_cursor else None,
        "tags": services.tags.list(asker) if asker.may("read") else [],
        "groups": own_groups(request, asker),
        "may_add": asker.may("upload"),
    }
    return render(request, "objects.html", facts, status=200 if wrong is None else 400)


def _by_distance(asked: dict[str, str]) -> bool:
    """Whether the nearest objects are wanted first: a place was asked for, and no order."""
    return bool(asked.get("position")) and not (asked.get("sort") or asked.get("cursor"))


def _page(request: Request, asker: Viewer, query: ObjectQuery, asked: dict[str, str]) -> ObjectPage:
    """One page; all of those around a place, where they are few enough to be put in order."""
    order, cursor = _order(asked.get("sort") or _DEFAULT_SORT), asked.get("cursor") or None
    search = partial(services_of(request).object_list.search, asker, query, order)
    if _by_distance(asked):
        near = search(limit=_NEAR, count_to=_COUNTED)
        if near.next_cursor is None:
            return near
    return search(cursor=cursor, limit=_ROWS, count_to=_COUNTED)


def _nearest_first(page: ObjectPage, query: ObjectQuery) -> tuple[ObjectPage, list[float]]:
    """The same objects by their distance from the place that was asked for, and that, arcsec."""
    assert query.cone is not None  # noqa: S101, a place was asked for
    ra, dec, _ = query.cone
    places = [row.ra for row in page.rows], [row.dec for row in page.rows]
    apart = 3600.0 * angular_separation(ra, dec, *places)
    order = np.argsort(apart, kind="stable")
    rows = tuple(page.rows[n] for n in order)
    return replace(page, rows=rows), [float(each) for each in apart[order]]


@router.get("/objects/{name}")
@read_together
def show_object(
    request: Request,
    asker: Asker,
    name: ObjectName,
    points: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Response:
    """Everything that is known of one object."""
    services = services_of(request)
    thing = services.objects.one(asker, name, _EVERYTHING)
    place = services.objects.position(asker, name)
    statistics = (thing["photstats"] or [None])[0]
    table = services.point_table.page(asker, name, points)
    signed_in = asker.user_id is not None
    runs = services.run_pages.of_object(asker, name, _RUNS)
    facts = {
        "thing": thing,
        "name": thing["id"],
        "address": object_address(thing["id"]),
        "api": f"/api/sources/{quote(thing['id'], safe='')}",
        "place": {**place, "words": sexagesimal(thing["ra"], thing["dec"])},
        "statistics": statistics,
        "table": table,
        "turned": points > 1,
        "periods": _periods(thing["annotations"]),
        "analyses": services.image_analyses.list(asker, name)["analyses"],
        "runs": runs,
        "modelled": any(each["facts"].get("has_light_curves") for each in runs),
        "services": _runnable(request, asker) if signed_in and asker.may("analyse") else [],
        "filters": sorted((statistics or {}).get("num_obs_per_filter") or ()),
        "spectra": services.spectra.of_object(asker, name, form=SpectrumForm(arrays=False)),
        "cutouts": [each for each in table.rows if each["exposure"]][:3],
        "changes": services.candidates.page(
            asker, CandidateQuery(object_name=thing["id"], limit=_CHANGES)
        ).candidates,
        "exports": _exports(thing["id"]),
        "taxonomies": _classes(request, asker) if signed_in and asker.may("classify") else [],
        "groups": own_groups(request, asker) if signed_in else [],
        "tags": services.tags.list(asker) if asker.may("read") else [],
        "may": {
            "comment": signed_in and asker.may("comment"),
            "classify": signed_in and asker.may("classify"),
            "annotate": asker.may("annotate"),
            "save": asker.may("upload"),
            "analyse": signed_in and asker.may("analyse"),
            "services": asker.may("manage_services"),
        },
    }
    return render(request, "object.html", facts)


@router.get("/objects/{name}/coverage")
@read_together
def show_coverage(request: Request, asker: Asker, name: ObjectName) -> Response:
    """How many images that cover the object have its point, and why others have none."""
    services = services_of(request)
    services.objects.position(asker, name)
    account = services.missing_points.of(name, asker.sites())
    facts = {"name": name, "address": object_address(name), "account": account}
    return render(request, "coverage.html", facts)


@router.get("/source/{name}")
def go_to_object(name: ObjectName) -> Response:
    """The object's page, at the address that SkyPortal has for it."""
    return RedirectResponse(object_address(name), 308)


@router.get("/objects/{name}/light_curve.bin")
def get_light_curve(request: Request, asker: Asker, name: ObjectName) -> Response:
    """The points of a light curve, packed; see `Curve.packed`."""
    packed = services_of(request).light_curve_plots.packed(asker, name)
    tag = f'"{hashlib.sha256(packed).hexdigest()[:24]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(None, 304, headers)
    return _packed(request, packed, headers, "application/octet-stream")


@router.get("/objects/{name}/light_curve.svg")
def draw(request: Request, asker: Asker, name: ObjectName) -> Response:
    """The light curve as a picture."""
    curve = services_of(request).light_curve_plots.curve(asker, name)
    picture = gzip.compress(draw_light_curve(curve).encode(), 4, mtime=0)
    headers = {"Content-Security-Policy": _INERT, "Cache-Control": "private, no-cache"}
    return _packed(request, picture, headers, "image/svg+xml")


@router.get("/api/photometry/{number}/cutout.png")
def get_cutout(request: Request, asker: Asker, number: Number) -> Response:
    """The image behind a point of photometry, at the place of the object."""
    picture = services_of(request).cutouts.png(asker, number)
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(picture, 200, headers, "image/png")


def object_address(name: str) -> str:
    """Where the page of an object is."""
    return f"/objects/{quote(name, safe='')}"


def own_groups(request: Request, viewer: Viewer) -> list[dict[str, Any]]:
    """Groups with which a viewer may share, by name; none for strangers."""
    if not viewer.name:
        return []
    found = services_of(request).groups.list(viewer, with_single_user_groups=True)
    return sorted(found["user_groups"], key=lambda each: str(each["name"]).lower())


def _runnable(request: Request, viewer: Viewer) -> list[dict[str, Any]]:
    """Services that can be called, each with the fields of its form."""
    return [
        {
            **each,
            "fields": form_fields(each["optional_analysis_parameters"]),
            "group_ids": [group["id"] for group in each["groups"]],
        }
        for each in services_of(request).analysis_services.list(viewer)
        if each["enabled"] and not each["upload_only"] and each["display_on_resource_dropdown"]
    ]


def _exports(name: str) -> list[tuple[str, str]]:
    address = f"/api/sources/{quote(name, safe='')}/light_curve"
    return [(words, f"{address}?format={form}") for form, words in _EXPORTS.items()]


def _packed(request: Request, body: bytes, headers: dict[str, str], kind: str) -> Response:
    """Answer with what is gzip'ed, to those who can unpack it."""
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        body = gzip.decompress(body)
    return Response(body, 200, headers, kind)


def _query(asked: dict[str, str]) -> ObjectQuery:
    cone = None
    if asked.get("position"):
        place = _position(asked["position"])
        if place is None:
            raise InvalidInput(
                "this is not a position",
                field="position",
                found=asked["position"],
                expected="degrees (31.0429 46.6878) or hours and degrees (02:04:10.3 +46:41:16)",
            )
        cone = (*place, (_number(asked, "radius") or _RADIUS_ARCMIN) / 60.0)
    group, tag = _number(asked, "group"), _number(asked, "tag")
    return ObjectQuery(
        name=asked.get("name") or None,
        cone=cone,
        classifications=(asked["class"],) if asked.get("class") else (),
        tags=(int(tag),) if tag is not None else (),
        saved=SavedWhen(groups=(int(group),)) if group is not None else None,
        last_mag=(_number(asked, "brighter"), _number(asked, "fainter")),
        has_spectrum=True if asked.get("spectrum") else None,
        min_detections=1 if asked.get("detected") else None,
    )


def _number(asked: dict[str, str], name: str) -> float | None:
    text = asked.get(name)
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise InvalidInput(field=name, found=text, expected="a number") from None


def _order(text: str) -> Order:
    return Order(text.removeprefix("-"), descending=text.startswith("-"))


def _position(text: str) -> tuple[float, float] | None:
    try:
        return parse_target(text)
    except FirstlightError:
        return None


def _periods(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Periods in days that annotations tell, each with its origin."""
    return [
        {"period": note["data"]["period"], "origin": note["origin"]}
        for note in annotations
        if isinstance(note["data"].get("period"), int | float) and note["data"]["period"] > 0
    ]


def _classes(request: Request, viewer: Viewer) -> list[dict[str, Any]]:
    """Taxonomies with the names of their classes, each with its depth."""
    return [
        {"id": each["id"], "name": each["name"], "classes": list(_flat(each["hierarchy"]))}
        for each in services_of(request).taxonomies.for_classifying(viewer)
    ]


def _flat(tree: dict[str, Any], depth: int = 0) -> list[tuple[str, int]]:
    found = [(str(tree["class"]), depth)]
    for each in tree.get("subclasses", []):
        found += _flat(each, depth + 1)
    return found
