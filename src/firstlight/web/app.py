"""The application, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware

from firstlight import __version__
from firstlight.services.web_settings import WebSettings
from firstlight.web.api import routers
from firstlight.web.client_address import networks
from firstlight.web.context import Services
from firstlight.web.events import EventHub, StreamLimits
from firstlight.web.faults import answer_faults
from firstlight.web.guards import BodyLimit, HeadAnswers, RequestLog, SafeHeaders, SlowBodies
from firstlight.web.metrics import Measured, Meters
from firstlight.web.metrics import router as metrics_router
from firstlight.web.packing import PackedJson
from firstlight.web.pages import page_routers
from firstlight.web.pages.rendering import note_stream
from firstlight.web.people_first import PeopleFirst
from firstlight.web.rate_limits import Buckets, RateLimit
from firstlight.web.static_files import STATIC, StaticFolder

__all__ = ["create_app"]

DESCRIPTION = """\
Everything that the archive of an observatory holds, for programs.

Answers are `{"status": "success", "data": ...}` or `{"status": "error", "message": ...,
"data": {"code": ...}}`; test the code. Send a token in the header `Authorization: token ...`.
"""


def create_app(services: Services) -> FastAPI:
    """Make the web application of one workspace.

    Parameters
    ----------
    services
        What it calls: a factory, or anything that offers the same.
    """
    settings = services.web_settings
    app = FastAPI(
        title="firstlight",
        version=__version__,
        description=DESCRIPTION,
        openapi_url="/api/openapi.json",
        docs_url=None,  # its pages load scripts from other people's servers
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.services = services
    app.state.hub = EventHub(
        services.event_stream,
        StreamLimits(
            poll_interval_s=settings.poll_interval_s,
            heartbeat_s=settings.heartbeat_s,
            max_streams=settings.max_streams,
        ),
    )
    app.state.meters = Meters(app)
    for router in (*routers(), metrics_router):
        app.include_router(router)
    for router in page_routers():
        app.include_router(router, dependencies=[Depends(note_stream)])
    app.mount("/static", StaticFolder(directory=STATIC), name="static")
    answer_faults(app)
    _guard(app, services.web_settings)
    return app


def _guard(app: FastAPI, settings: WebSettings) -> None:
    """Put the guards around an application. The last one added is the outermost."""
    app.add_middleware(
        BodyLimit,
        limit=settings.max_body_bytes,
        data_limit=settings.max_data_bytes,
        upload_limit=settings.max_upload_bytes,
    )
    app.add_middleware(
        SlowBodies, patience_s=settings.body_patience_s, bytes_per_s=settings.min_body_rate
    )
    if settings.requests_per_minute is not None:
        app.add_middleware(
            RateLimit,
            buckets=Buckets(settings.requests_per_minute, settings.request_burst),
            trusted=networks(settings.trusted_proxies),
        )
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.allowed_origins),
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID", "Range"],
            expose_headers=["Content-Disposition", "Content-Range", "ETag", "X-Next-Cursor"],
        )
    app.add_middleware(PeopleFirst)
    app.add_middleware(PackedJson)
    app.add_middleware(HeadAnswers)
    app.add_middleware(SafeHeaders)
    app.add_middleware(Measured, meters=app.state.meters)
    app.add_middleware(RequestLog)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.hub.close()
