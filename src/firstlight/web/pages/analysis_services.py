"""Administration of analysis services: who they are, where they live, whether they answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from firstlight.analysis_kit.declaration import INPUT_TYPES
from firstlight.errors import InvalidInput
from firstlight.services.access import Viewer
from firstlight.services.objects.wire_values import LARGEST_ID
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.pages.objects import own_groups
from firstlight.web.pages.rendering import render

router = APIRouter(include_in_schema=False, prefix="/admin/analysis_services")

RowId = Annotated[int, Path(ge=0, le=LARGEST_ID)]
_BOXES = ("enabled", "upload_only", "display_on_resource_dropdown")
_BLANK: dict[str, Any] = {
    **dict.fromkeys(("name", "display_name", "url", "version", "description", "contact_name")),
    **dict.fromkeys(("contact_email", "analysis_type", "input_format", "authentication_type")),
    **dict.fromkeys(("input_data_types", "optional_analysis_parameters", "groups"), ()),
    "timeout": None,
    "enabled": True,
    "upload_only": False,
    "display_on_resource_dropdown": True,
}
_LISTS = ("input_data_types", "group_ids")


@router.get("")
def show_services(request: Request, asker: Asker) -> Response:
    """All services, and a form for another."""
    return _page(request, asker)


@router.get("/{number}")
def show_service(request: Request, asker: Asker, number: RowId) -> Response:
    """All services, and a form that changes this one."""
    return _page(request, asker, number=number)


@router.post("")
async def add(request: Request, asker: Asker) -> Response:
    """Register a service."""
    given = _facts(await request.form(max_files=0, max_fields=200))
    await run_in_threadpool(services_of(request).analysis_services.create, asker, given)
    return _back()


@router.post("/shipped")
def add_shipped(request: Request, asker: Asker) -> Response:
    """Register the services that come with firstlight."""
    services_of(request).shipped_services.add(asker)
    return _back()


@router.post("/{number}")
async def change(request: Request, asker: Asker, number: RowId) -> Response:
    """Change a service; without new secrets it keeps the old ones."""
    given = _facts(await request.form(max_files=0, max_fields=200))
    await run_in_threadpool(services_of(request).analysis_services.change, asker, number, given)
    return _back()


@router.post("/{number}/{what}")
def act(request: Request, asker: Asker, number: RowId, what: str) -> Response:
    """Try, enable, disable or remove a service."""
    services = services_of(request).analysis_services
    if what == "try":
        return _page(request, asker, tried=_tried(request, asker, number))
    if what in ("enable", "disable"):
        services.change(asker, number, {"enabled": what == "enable"})
    elif what == "remove":
        services.remove(asker, number)
    else:
        raise InvalidInput(field="what", found=what[:40], expected="try, enable, disable, remove")
    return _back()


def _tried(request: Request, asker: Viewer, number: int) -> dict[str, Any]:
    services = services_of(request)
    name = services.analysis_services.get(asker, number)["display_name"]
    return {"name": name, **services.connection_test.connection_test(asker, number)}


def _page(
    request: Request, asker: Viewer, *, number: int | None = None, tried: Any = None
) -> Response:
    asker.require("manage_services")
    services = services_of(request).analysis_services
    rows = services.list(asker)
    service = None
    if number is not None:
        service = {**services.get(asker, number), **services.details(asker, number)}
    facts = {
        "part": "analysis_services",
        "rows": rows,
        "service": service,
        "it": service or _BLANK,
        "tried": tried,
        "shipped": services_of(request).shipped_services.missing(asker),
        "input_types": INPUT_TYPES,
        "groups": own_groups(request, asker),
    }
    return render(request, "admin_analysis_services.html", facts)


def _back() -> Response:
    return RedirectResponse("/admin/analysis_services", HTTPStatus.SEE_OTHER)


def _facts(form: Any) -> dict[str, Any]:
    """What the form says; what is empty stays as it is, or as it is by default."""
    facts: dict[str, Any] = {box: box in form for box in _BOXES}
    for name, value in form.multi_items():
        if name in _LISTS:
            facts.setdefault(name, []).append(value)
        elif name not in _BOXES and name != "csrf_token" and value.strip():
            facts[name] = value.strip()
    if "group_ids" in facts:
        facts["group_ids"] = [int(each) for each in facts["group_ids"] if each.isdigit()]
    facts.setdefault("input_data_types", [])
    if "timeout" in facts:
        facts["timeout"] = _seconds(facts["timeout"])
    return facts


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidInput(field="timeout", found=text[:40], expected="seconds") from None
