"""Runs of analysis services on objects: started, listed, cancelled, deleted, uploaded."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from firstlight import __version__
from firstlight.errors import InvalidInput
from firstlight.services.access import Viewer
from firstlight.services.analyses.analyses import RunQuery
from firstlight.services.analyses.analyses_start import RunWish
from firstlight.services.objects.wire_values import LARGEST_ID
from firstlight.web.api.portal_parameters import Groups, ObjectName, PortalRequest
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import json_response, shows, success
from firstlight.web.spooled_bodies import read_spooled

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["analysis services"])

_ALL = 10_000  # of a list without pages
_ANALYSIS: dict[str, Any] = {
    "id": 12,
    "obj_id": "FL1",
    "status": "completed",
    "status_message": "Good results",
    "created_at": "2026-11-21T12:35:30.123456",
    "modified": "2026-11-21T12:35:42.123456",
    "last_activity": "2026-11-21T12:35:42.123456",
    "analysis_service_id": 1,
    "analysis_service_name": "RR Lyrae",
    "analysis_service_description": "We fit RR Lyrae stars to templates.",
    "author_id": 1,
    "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "show_parameters": True,
    "show_plots": True,
    "show_corner": True,
    "analysis_parameters": {"rrl_type": "ab"},
    "input_filters": {},
    "invalid_after": "2026-11-21T12:36:30.123456",
    "duration": 12.0,
    "num_plots": 2,
    "model_name": None,
    "n_detections": None,
    "groups": [{"id": 2, "name": "Observers"}],
}
_UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {
                    "status": "success",
                    "message": "Ran this on my machine",
                    "show_parameters": True,
                    "analysis": {
                        "results": {"format": "json", "data": {"classification": "DY Per"}}
                    },
                },
            }
        },
    }
}

AnalysisId = Annotated[int, Path(ge=0, le=LARGEST_ID, description="Number of the analysis.")]
ServiceId = Annotated[int, Path(ge=0, le=LARGEST_ID, description="Number of the service.")]
OfService = Annotated[int | None, Query(alias="analysisServiceID", ge=0, le=LARGEST_ID)]
SummaryOnly = Annotated[bool, Query(alias="summaryOnly")]
Filename = Annotated[
    bool, Query(alias="includeFilename", description="Of no effect: there is no such file.")
]
PageNumber = Annotated[int | None, Query(alias="pageNumber", ge=1, le=LARGEST_ID)]
PerPage = Annotated[int | None, Query(alias="numPerPage", ge=1, le=500)]
Status = Annotated[str | None, Query(max_length=32, examples=["completed"])]
Details = Annotated[
    bool, Query(alias="includeDetails", description="Also what SkyPortal has no names for.")
]


class AnalysisRequest(PortalRequest):
    """How a service is to be run."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "analysis_parameters": {"source": "nugent-sn2p"},
                "input_filters": {"photometry": {"filters": ["ztfg"], "instruments": [1]}},
                "show_plots": True,
            }
        },
    )

    analysis_parameters: dict[str, Any] | None = None
    url_parameters: dict[str, Any] | None = Field(
        default=None, description="The old name of `analysis_parameters`."
    )
    input_filters: dict[str, Any] | None = None
    group_ids: Groups = None
    show_parameters: bool | None = None
    show_plots: bool | None = None
    show_corner: bool | None = None

    def wish(self) -> RunWish:
        """As the service takes it."""
        return RunWish(
            analysis_parameters={
                **(self.url_parameters or {}),
                **(self.analysis_parameters or {}),
            },
            input_filters=self.input_filters,
            group_ids=self.group_ids,
            show_parameters=bool(self.show_parameters),
            show_plots=bool(self.show_plots),
            show_corner=bool(self.show_corner),
        )


class RerunRequest(PortalRequest):
    """Parameters of the new run; those of the old one where none are given."""

    analysis_parameters: dict[str, Any] | None = Field(default=None, examples=[{"source": "salt2"}])


@router.post(
    "/obj/{name}/analysis/{service_id:int}",
    responses=shows({"id": 12}, 400, 401, 403, 404, 429),
)
def start_analysis(
    request: Request,
    asker: Asker,
    name: ObjectName,
    service_id: ServiceId,
    body: Annotated[AnalysisRequest | None, Body()] = None,
) -> Response:
    """Run a service on an object. The answer comes at once, the results come later."""
    wish = (body or AnalysisRequest()).wish()
    return success(
        {"id": services_of(request).analysis_starter.start(asker, name, service_id, wish)}
    )


@router.get("/obj/analysis", responses=shows([_ANALYSIS], 400))
def list_analyses(  # noqa: PLR0913, parameters of a query
    request: Request,
    asker: Asker,
    *,
    name: Annotated[
        str | None, Query(alias="objID", max_length=128, description="Exactly.")
    ] = None,
    service_id: OfService = None,
    status: Status = None,
    summary_only: SummaryOnly = False,
    include_filename: Filename = False,
    page: PageNumber = None,
    per_page: PerPage = None,
) -> Response:
    """Analyses that you may see, the newest first.

    With `objID` all columns are told. With `pageNumber` or `numPerPage` the answer is `{"analyses",
    "totalMatches"}`, else a list of the newest 10000, as SkyPortal gives it.
    """
    del include_filename
    query = RunQuery(name, service_id, status, summary_only, page or 1, per_page or 100)
    found = services_of(request).analyses.list(asker, _sized(query, page, per_page))
    return _listed(found, page, per_page)


@router.get("/obj/{name}/analysis", responses=shows([_ANALYSIS], 400, 404))
def list_analyses_of_object(  # noqa: PLR0913, parameters of a query
    request: Request,
    asker: Asker,
    name: ObjectName,
    *,
    service_id: OfService = None,
    status: Status = None,
    summary_only: SummaryOnly = False,
    include_filename: Filename = False,
    page: PageNumber = None,
    per_page: PerPage = None,
) -> Response:
    """Analyses of one object, the newest first; pages as above."""
    del include_filename
    query = RunQuery(name, service_id, status, summary_only, page or 1, per_page or 100)
    found = services_of(request).analyses.of_object(asker, name, _sized(query, page, per_page))
    return _listed(found, page, per_page)


@router.get("/obj/analysis/{analysis_id:int}", responses=shows(_ANALYSIS, 404))
def get_analysis(
    request: Request,
    asker: Asker,
    analysis_id: AnalysisId,
    *,
    include_data: Annotated[bool, Query(alias="includeAnalysisData")] = False,
    include_filename: Filename = False,
    include_details: Details = False,
) -> Response:
    """One analysis; with `includeAnalysisData=True` all that came of it.

    The data are in `data.data`, where SkyPortal's client looks for them, and in `analysis`, where
    its documentation does.
    """
    del include_filename
    return _one(request, asker, analysis_id, None, (include_data, include_details))


@router.get("/obj/{name}/analysis/{analysis_id:int}", responses=shows(_ANALYSIS, 404))
def get_analysis_of_object(
    request: Request,
    asker: Asker,
    name: ObjectName,
    analysis_id: AnalysisId,
    *,
    include_data: Annotated[bool, Query(alias="includeAnalysisData")] = False,
    include_filename: Filename = False,
    include_details: Details = False,
) -> Response:
    """One analysis of an object."""
    del include_filename
    return _one(request, asker, analysis_id, name, (include_data, include_details))


@router.post(
    "/obj/analysis/{analysis_id:int}/cancel",
    responses=shows({"status": "cancelled"}, 401, 403, 404),
)
def cancel_analysis(request: Request, asker: Asker, analysis_id: AnalysisId) -> Response:
    """Stop an analysis of yours; one that has ended stays as it is."""
    return success({"status": services_of(request).analyses.cancel(asker, analysis_id)})


@router.post(
    "/obj/analysis/{analysis_id:int}/rerun",
    responses=shows({"id": 13}, 400, 401, 403, 404, 429),
)
def rerun_analysis(
    request: Request,
    asker: Asker,
    analysis_id: AnalysisId,
    body: Annotated[RerunRequest | None, Body()] = None,
) -> Response:
    """Run the service on the object again; the answer is the new analysis."""
    parameters = None if body is None else body.analysis_parameters
    number = services_of(request).analysis_starter.rerun(asker, analysis_id, parameters)
    return success({"id": number})


@router.delete("/obj/analysis/{analysis_id:int}", responses=shows({}, 401, 403, 404))
def remove_analysis(request: Request, asker: Asker, analysis_id: AnalysisId) -> Response:
    """Delete an analysis of yours and its files."""
    services_of(request).analyses.remove(asker, analysis_id)
    return success({})


@router.delete("/obj/{name}/analysis/{analysis_id:int}", responses=shows({}, 401, 403, 404))
def remove_analysis_of_object(
    request: Request, asker: Asker, name: ObjectName, analysis_id: AnalysisId
) -> Response:
    """Delete an analysis of yours and its files."""
    services_of(request).analyses.remove(asker, analysis_id, object_name=name)
    return success({})


@router.post(
    "/obj/{name}/analysis_upload/{service_id:int}",
    responses=shows(
        {"id": 12, "message": "Saved upload_only analysis data."}, 400, 401, 403, 404, 413
    ),
    openapi_extra=_UPLOAD_BODY,
)
async def upload_analysis(
    request: Request, asker: Asker, name: ObjectName, service_id: ServiceId
) -> Response:
    """Upload results for a service that is `upload_only`, in the form in which services answer.

    `status` may be left out. `show_parameters`, `show_plots`, `show_corner` and `group_ids` may be
    given besides.
    """
    uploads = services_of(request).analysis_uploads
    await run_in_threadpool(uploads.expect, asker, name, service_id)
    taken = await read_spooled(
        request, uploads.longest_body, lambda body: uploads.take(asker, name, service_id, body)
    )
    return success(taken)


@router.post("/obj/{name}/analysis_upload", responses=shows({}, 400, 401), include_in_schema=False)
def upload_to_no_service(asker: Asker, name: ObjectName) -> Response:
    """SkyPortal's words to one who has left the number of the service out."""
    del name
    asker.require("analyse")
    raise InvalidInput(
        "Invalid analysis_service_id: None",
        field="service_id",
        expected="/api/obj/<object>/analysis_upload/<service_id>",
    )


def _sized(query: RunQuery, page: int | None, per_page: int | None) -> RunQuery:
    if page is None and per_page is None:
        return RunQuery(query.object_name, query.service_id, query.status, query.summaries, 1, _ALL)
    return query


def _listed(
    found: tuple[list[dict[str, Any]], int], page: int | None, per_page: int | None
) -> Response:
    rows, total = found
    if page is None and per_page is None:
        answer = success(rows)
        answer.headers["X-Total-Count"] = str(total)
        return answer
    return success({"analyses": rows, "totalMatches": total})


def _one(
    request: Request, asker: Viewer, analysis_id: int, name: str | None, include: tuple[bool, bool]
) -> Response:
    services = services_of(request)
    with_data, with_details = include
    facts = services.analyses.get(asker, analysis_id, object_name=name, details=with_details)
    if not with_data:
        return success(facts)
    data = services.analysis_products.data(asker, analysis_id)
    body = {"status": "success", "data": {**facts, "data": data}, "analysis": data}
    return json_response({**body, "version": __version__})
