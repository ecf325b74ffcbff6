"""Pages of analyses: start a service on an object, see it run, its results, two runs compared."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, RedirectResponse

from firstlight.errors import FirstlightError, InvalidInput
from firstlight.services.access import Viewer
from firstlight.services.analyses.analyses_start import RunWish
from firstlight.services.analyses.analysis_products import whole
from firstlight.services.analyses.declared_parameters import form_fields
from firstlight.services.objects.wire_values import LARGEST_ID
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.pages.objects import ObjectName, object_address
from firstlight.web.pages.rendering import render

router = APIRouter(include_in_schema=False)

RowId = Annotated[int, Path(ge=0, le=LARGEST_ID)]
_PARAMETER = "p."
_MOST_ROWS = 300
_DEPTH = 4
_SHORT_LIST = 8
_FIRST_ROWS = 15
_MOST_FILE_BYTES = 8_000_000
_TOGETHER = 4
_DRAWN = 10


@router.get("/objects/{name}/analyses/compare")
def compare(
    request: Request,
    asker: Asker,
    name: ObjectName,
    run: Annotated[list[int], Query(max_length=_TOGETHER)] = [],  # noqa: B006, FastAPI copies it
) -> Response:
    """Two runs, or a few: their parameters and results side by side, their posteriors as one."""
    services = services_of(request)
    runs = [services.run_pages.one(asker, each) for each in run]
    if len(runs) < 2 or any(each["obj_id"] != name for each in runs):
        raise InvalidInput(
            "choose two or more finished runs of this object",
            field="run",
            found=", ".join(map(str, run)) or "none",
            hint="tick them in the list of analyses",
        )
    facts = {
        "name": name,
        "address": object_address(name),
        "runs": runs,
        "parameters": _side_by_side([each["analysis_parameters"] for each in runs]),
        "results": _side_by_side([_results(request, asker, each) for each in runs]),
        "posteriors": [each for each in runs if each["facts"].get("has_corner")],
        "models": f"{object_address(name)}/models.json?{urlencode({'run': run}, doseq=True)}",
    }
    return render(request, "analyses_compared.html", facts)


@router.get("/objects/{name}/analyses/{number}")
def show_run(request: Request, asker: Asker, name: ObjectName, number: RowId) -> Response:
    """One run: its state while it lasts, then what it found."""
    services = services_of(request)
    run = services.run_pages.one(asker, number)
    name = run["obj_id"]
    service = _service_of(request, asker, run)
    may_run = asker.user_id is not None and asker.may("analyse")
    results = _results(request, asker, run)
    facts = {
        "name": name,
        "address": object_address(name),
        "run": run,
        "waiting": run["status"] in ("queued", "pending"),
        "service": service,
        "fields": form_fields(service["optional_analysis_parameters"]) if service else [],
        "results": list(_flat(results)) if results is not None else [],
        "first_rows": _FIRST_ROWS,
        "may": {
            "rerun": may_run and service is not None and not service["upload_only"],
            "change": run["author_id"] == asker.user_id or asker.may("admin"),
        },
    }
    return render(request, "analysis.html", facts)


@router.get("/source/{name}/analysis/{number}")
def go_to_run(name: ObjectName, number: RowId) -> Response:
    """A run, at the address that SkyPortal has for it."""
    return RedirectResponse(_address(name, number), 308)


@router.post("/objects/{name}/analyses")
async def start(request: Request, asker: Asker, name: ObjectName) -> Response:
    """Run a service on an object."""
    given = await _form_of(request)
    return await run_in_threadpool(_start, request, asker, name, given)


@router.post("/objects/{name}/analyses/{number}/rerun")
async def rerun(request: Request, asker: Asker, name: ObjectName, number: RowId) -> Response:
    """Run the same again, with other parameters where the form has some."""
    given = await _form_of(request)
    starter = services_of(request).analysis_starter
    new = await run_in_threadpool(starter.rerun, asker, number, _parameters(given) or None)
    return RedirectResponse(_address(name, new), 303)


@router.post("/objects/{name}/analyses/{number}/cancel")
def cancel(request: Request, asker: Asker, name: ObjectName, number: RowId) -> Response:
    """Wait no longer for a run."""
    services_of(request).analyses.cancel(asker, number)
    return RedirectResponse(_address(name, number), 303)


@router.post("/objects/{name}/analyses/{number}/delete")
def remove(request: Request, asker: Asker, name: ObjectName, number: RowId) -> Response:
    """Remove a run and its files."""
    services_of(request).analyses.remove(asker, number)
    return RedirectResponse(f"{object_address(name)}#analyses", 303)


@router.get("/objects/{name}/models.json")
def get_models(
    request: Request,
    asker: Asker,
    name: ObjectName,
    run: Annotated[list[int], Query(max_length=_TOGETHER)] = [],  # noqa: B006, FastAPI copies it
) -> Response:
    """What runs have fitted to the light curve: of each its models, by filter, in µJy."""
    services = services_of(request)
    models: list[dict[str, Any]] = []
    for each in services.run_pages.with_light_curves(asker, name, _DRAWN, run):
        try:
            curves = json.loads(whole(services.analysis_products.light_curves(asker, each["id"])))
        except FirstlightError:
            continue  # removed or damaged meanwhile: the points are drawn without it
        words = f"{each['analysis_service_name']} {each['id']}"
        shown = bool(run) or not models  # of many on one plot, at first the newest alone
        models.append({"id": each["id"], "name": words, "shown": shown, "models": curves["models"]})
    return JSONResponse({"status": "success", "data": models})


async def _form_of(request: Request) -> dict[str, list[Any]]:
    """What a form says, each of its fields as often as it was given."""
    form = await request.form(max_fields=200, max_files=10)
    return {key: form.getlist(key) for key in form}


def _start(request: Request, asker: Viewer, name: str, given: Mapping[str, list[Any]]) -> Response:
    services = services_of(request)
    service = str((given.get("service") or [""])[0])
    if not (service.isascii() and service.isdigit()):
        raise InvalidInput("choose a service", field="service", found=service[:40])
    groups = [int(each) for each in given.get("groups", []) if str(each).isdigit()]
    wish = RunWish(
        analysis_parameters=_parameters(given),
        input_filters=_filters(given),
        group_ids=groups or None,
        show_parameters=True,
        show_plots=True,
        show_corner=True,
    )
    number = services.analysis_starter.start(asker, name, int(service), wish)
    return RedirectResponse(_address(name, number), 303)


def _parameters(given: Mapping[str, list[Any]]) -> dict[str, Any]:
    """What a form says of the parameters; what is empty is left to the service."""
    found: dict[str, Any] = {}
    for key, values in given.items():
        if not key.startswith(_PARAMETER) or not values:
            continue
        value = values[-1]
        if isinstance(value, UploadFile):
            if value.filename:
                found[key.removeprefix(_PARAMETER)] = _data_url(value)
        elif value != "":
            found[key.removeprefix(_PARAMETER)] = value
    return found


def _data_url(upload: UploadFile) -> str:
    """A file as SkyPortal's forms send one."""
    data = upload.file.read(_MOST_FILE_BYTES + 1)
    if len(data) > _MOST_FILE_BYTES:
        raise InvalidInput(
            "this file is too large for a parameter",
            subject=upload.filename,
            expected=f"at most {_MOST_FILE_BYTES / 1e6:g} MB",
        )
    kind = upload.content_type or "application/octet-stream"
    text = base64.b64encode(data).decode("ascii")
    return f"data:{kind};name={quote(upload.filename or 'file')};base64,{text}"


def _filters(given: Mapping[str, list[Any]]) -> dict[str, Any]:
    filters = [str(each) for each in given.get("filters", []) if each]
    return {"photometry": {"filters": filters}} if filters else {}


def _service_of(request: Request, asker: Viewer, run: Mapping[str, Any]) -> dict[str, Any] | None:
    """The service of a run; None where it was removed, or is not the viewer's to see."""
    if run["analysis_service_id"] is None:
        return None
    try:
        return services_of(request).analysis_services.get(asker, run["analysis_service_id"])
    except FirstlightError:
        return None


def _results(request: Request, asker: Viewer, run: Mapping[str, Any]) -> Any:
    if not run["facts"].get("has_results"):
        return None
    try:
        return services_of(request).analysis_products.results(asker, run["id"])
    except FirstlightError as fault:
        return {"fault": str(fault)}


def _flat(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Results as lines of a table: nested names joined by points, long lists cut."""
    if isinstance(value, dict) and _is_measured(value):
        yield name, _measured(value["value"], value["error"])
    elif isinstance(value, dict) and depth < _DEPTH:
        for key, inner in list(value.items())[:_MOST_ROWS]:
            yield from _flat(inner, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(value, list) and value and isinstance(value[0], dict | list):
        yield name or "results", f"{len(value)} rows"
    elif isinstance(value, list) and len(value) > _SHORT_LIST:
        yield name or "results", f"{len(value)} values: {_joined(value[:4])} …"
    else:
        yield name or "results", _joined(value) if isinstance(value, list) else value


def _is_measured(value: Mapping[str, Any]) -> bool:
    """Whether it is a number with its error."""
    return all(
        isinstance(value.get(key), int | float) and not isinstance(value.get(key), bool)
        for key in ("value", "error")
    )


def _measured(value: float, error: float) -> str:
    """A number to two digits of its error."""
    if not 1e-6 < abs(error) < 1e6:
        return f"{value:.8g} ± {error:.2g}"
    places = max(0, 1 - math.floor(math.log10(abs(error))))
    return f"{value:.{places}f} ± {error:.{places}f}"


def _joined(values: list[Any]) -> str:
    return ", ".join(
        f"{each:.6g}" if isinstance(each, float) else str(each)[:40] for each in values
    )


def _side_by_side(columns: list[Any]) -> list[tuple[str, list[Any]]]:
    """Lines of several runs with the same name, side by side; None where a run has none."""
    flat = [dict(_flat(column)) if isinstance(column, dict) else {} for column in columns]
    names = list(dict.fromkeys(name for column in flat for name in column))
    return [(name, [column.get(name) for column in flat]) for name in names[:_MOST_ROWS]]


def _address(name: str, number: int) -> str:
    return f"{object_address(name)}/analyses/{number}"
