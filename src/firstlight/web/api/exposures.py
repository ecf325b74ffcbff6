"""Exposures: searched, looked at, and their files."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import StreamingResponse

from firstlight.services.finding.exposure_forms import exposure_row
from firstlight.services.finding.search_query import ExposureQuery, query_from_parameters
from firstlight.web.addresses import exposure_address, file_address
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import asks, shows, success
from firstlight.web.file_answers import FILE_RESPONSES, file_answer

router = APIRouter(prefix="/api", tags=["exposures"])

Which = Annotated[
    str, Path(description="Id, base filename or image number of the exposure.", max_length=200)
]
_OWN = frozenset({"cursor", "limit", "format"})

_EXPOSURE: dict[str, Any] = {
    "id": "5c3ad5d5-6a3f-8e6b-9f51-0a4f7be2a2f0",
    "name": "tst-kb001ms-20220629-00010442",
    "site": "tst",
    "camera": "kb001ms",
    "start": "2022-06-30T04:15:00.000Z",
    "night": "2022-06-29",
    "exp_time": 60.0,
    "filter": "rp",
    "ra": 210.8,
    "dec": 54.3,
    "reduction_state": "done",
    "files": [
        {
            "name": "tst-kb001ms-20220629-00010442-EX10.jpg",
            "role": "jpg_medium",
            "size": 183204,
            "url": "/api/exposures/5c3ad5d5-6a3f-8e6b-9f51-0a4f7be2a2f0/files/tst-kb001ms-...jpg",
        }
    ],
}
_PARAMETERS = {
    "site": ("One or more, by commas.", "tst,sro"),
    "instrument": ("Class that reads the files.", "PANOPTES"),
    "camera": ("As the file or header names it.", "kb001ms"),
    "user_id": ("Who asked for the exposure.", "auth0|1234"),
    "username": ("Likewise, by name.", "tim"),
    "filter": ("Filters, by commas.", "rp,ip"),
    "target": ("Name of the target.", "M 101"),
    "kind": ("science, bias, dark, flat, other or unknown.", "science"),
    "data_type": ("Letters in the file's name.", "EX"),
    "collection": ("data, or allsky.", "data"),
    "reduction_state": ("none, done, partial or failed.", "done"),
    "exp_time_min": ("Seconds.", "30"),
    "exp_time_max": ("Seconds.", "120"),
    "start": ("Began then or later, UTC.", "2022-06-29T12:00:00Z"),
    "end": ("Began before, UTC.", "2022-06-30T12:00:00Z"),
    "night": ("Local date of the noon before.", "2022-06-29"),
    "name": ("Name, with * and ?.", "tst-kb001ms-20220629-*"),
    "card": ("A header card, KEYWORD=value; may be repeated.", "OBJECT=M101"),
    "cone": ("Right ascension, declination, radius in degrees.", "210.8,54.3,0.5"),
    "polygon": ("Corners in degrees.", "210,54,211,54,211,55"),
    "observation": ("Id of an observation.", "5c3ad5d5-6a3f-8e6b-9f51-0a4f7be2a2f0"),
    "sequence": ("Name of a sequence.", "PAN001_14d3bd_20180113T052458"),
    "smart_stack": ("Name of a smart stack.", "290622041500"),
    "final_only": ("Of each smart stack only the last exposure.", "true"),
    "modified_since": ("What has changed since, UTC.", "2022-06-29T12:00:00Z"),
    "has": ("Only those with a file of this role.", "jpg_medium"),
}
_SEARCH = asks(_PARAMETERS)


def asked_query(request: Request, own: frozenset[str] = _OWN, **fixed: str) -> ExposureQuery:
    """Read the search in a request's query; names that are not known are errors."""
    query = request.query_params
    asked = {name: query.getlist(name) for name in query if name not in own}
    return query_from_parameters(asked | {name: [text] for name, text in fixed.items()})


@router.get(
    "/exposures",
    responses=shows({"exposures": [_EXPOSURE], "next": None}, 400, 401, 403),
    openapi_extra=_SEARCH,
)
def find_exposures(
    request: Request,
    asker: Asker,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    format: Literal["json", "csv", "votable"] = "json",  # noqa: A002, the query's name
) -> Response:
    """Search, newest first. CSV and VOTable hold all that is found, in one stream."""
    search, query = services_of(request).search, asked_query(request)
    if format != "json":
        kind = "text/csv" if format == "csv" else "application/x-votable+xml"
        end = "csv" if format == "csv" else "xml"
        headers = {"Content-Disposition": f'attachment; filename="exposures.{end}"'}
        return StreamingResponse(
            search.export(query, asker.sites(), format), media_type=kind, headers=headers
        )
    page = search.exposures(query, asker.sites(), cursor=cursor, limit=limit)
    found = [_with_addresses(exposure_row(row)) for row in page.rows]
    return success({"exposures": found, "next": page.next_cursor})


@router.get("/exposures/{which}", responses=shows(_EXPOSURE, 401, 403, 404))
def get_exposure(
    request: Request, asker: Asker, which: Which, collection: Literal["data", "allsky"] = "data"
) -> Response:
    """One exposure with all its files."""
    search = services_of(request).search
    row = search.exposure(named(which), asker.sites(), collection=collection)
    return success(_with_addresses(exposure_row(row)))


@router.get(
    "/exposures/{which}/header", responses=shows([["OBJECT", "M 101", "Target"]], 401, 403, 404)
)
def get_header(
    request: Request, asker: Asker, which: Which, collection: Literal["data", "allsky"] = "data"
) -> Response:
    """The whole header: keyword, value and comment of each card, in its order."""
    search = services_of(request).search
    return success(search.header(named(which), asker.sites(), collection=collection))


@router.get("/exposures/{which}/files/{name}", responses=FILE_RESPONSES, response_class=Response)
def get_exposure_file(
    request: Request,
    asker: Asker,
    which: Which,
    name: Annotated[str, Path(description="Of the file, as in the list of its files.")],
    *,
    download: Annotated[bool, Query(description="To be saved, not shown.")] = False,
) -> Response:
    """One file of an exposure, or a range of it."""
    file = services_of(request).served_files.of_exposure(which, name, asker)
    return file_answer(request, file, attachment=download)


@router.head("/exposures/{which}/files/{name}", include_in_schema=False)
def look_at_exposure_file(
    request: Request, asker: Asker, which: Which, name: Annotated[str, Path()]
) -> Response:
    """What `get_exposure_file` would answer, without the file."""
    return file_answer(request, services_of(request).served_files.of_exposure(which, name, asker))


@router.get("/sites", responses=shows([{"name": "tst", "latest": _EXPOSURE}], 401, 403))
def list_sites(request: Request, asker: Asker) -> Response:
    """All sites that one may see, each with its latest exposure."""
    latest = services_of(request).search.latest_of_all_sites(asker.sites(), role=None)
    return success(
        [
            {"name": name, "latest": _with_addresses(exposure_row(row))}
            for name, row in sorted(latest.items())
        ]
    )


def named(which: str) -> str | int:
    """Tell a number from a name."""
    return int(which) if which.isascii() and which.isdigit() and len(which) < 19 else which


def _with_addresses(facts: dict[str, Any]) -> dict[str, Any]:
    files = [{**file, "url": file_address(facts["id"], file["name"])} for file in facts["files"]]
    return {**facts, "url": exposure_address(facts["id"]), "files": files}
