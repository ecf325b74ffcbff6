"""The application, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from firstlight import __version__
from firstlight.web.api import routers
from firstlight.web.context import Services
from firstlight.web.events import EventHub, StreamLimits
from firstlight.web.faults import answer_faults
from firstlight.web.guards import BodyLimit, HeadAnswers, RequestLog, SafeHeaders
from firstlight.web.pages import page_routers

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
    for router in (*routers(), *page_routers()):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    answer_faults(app)
    # The last one added is the outermost.
    app.add_middleware(
        BodyLimit, limit=settings.max_body_bytes, upload_limit=settings.max_upload_bytes
    )
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.allowed_origins),
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID", "Range"],
            expose_headers=["Content-Disposition", "Content-Range", "ETag", "X-Next-Cursor"],
        )
    app.add_middleware(HeadAnswers)
    app.add_middleware(SafeHeaders)
    app.add_middleware(RequestLog)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.hub.close()
