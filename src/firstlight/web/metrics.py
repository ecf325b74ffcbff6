"""What monitoring reads: requests, arrivals, jobs and streams, as Prometheus writes them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from firstlight import __version__
from firstlight.services.server_state import Figures
from firstlight.web.auth import is_from_this_machine, viewer_of
from firstlight.web.context import services_of

__all__ = ["Measured", "Meters", "router"]

router = APIRouter(tags=["health"])

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NOWHERE = "(none)"
_STREAM = "text/event-stream"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_EXAMPLE = 'firstlight_http_requests_total{method="GET",route="/api/me",status="200"} 4711.0\n'
_ANSWERS: dict[int | str, Any] = {
    200: {
        "description": "Text in the format of Prometheus",
        "content": {"text/plain": {"example": _EXAMPLE}},
    },
    401: {"description": "Only from this machine, or with a token that may `operate`"},
    403: {"description": "This token may not `operate`"},
}


class Meters:
    """The counters of one application.

    Parameters
    ----------
    app
        Whose services and streams are told of.
    """

    def __init__(self, app: Starlette) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "firstlight_http_requests",
            "Requests that were answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "firstlight_http_request_seconds",
            "From the header of a request to the end of its answer; streams are left out.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(_Works(app))

    def count(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """Count one request; without seconds it is one whose end says nothing."""
        self._requests.labels(method, route, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(method, route).observe(seconds)

    def as_text(self) -> bytes:
        """Everything, now."""
        return generate_latest(self.registry)


class Measured:
    """Counts each request under the pattern of its address, so that names stay few.

    Parameters
    ----------
    app
        What answers.
    meters
        Where it is counted.
    """

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, is_stream = time.perf_counter(), 500, False

        async def sending(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                kind = Headers(raw=message["headers"]).get("content-type", "")
                is_stream = kind.startswith(_STREAM)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            seconds = None if is_stream else time.perf_counter() - started
            self._meters.count(method, _route(scope), status, seconds)


@router.get("/metrics", responses=_ANSWERS, response_class=Response)
def tell_metrics(request: Request) -> Response:
    """Tell what monitoring reads; see the setting `web.metrics_for`."""
    allowed = services_of(request).web_settings.metrics_for
    is_near = allowed == "loopback" and is_from_this_machine(request)
    if allowed != "anyone" and not is_near:
        viewer_of(request).require("operate")
    meters: Meters = request.app.state.meters
    return Response(meters.as_text(), media_type=CONTENT_TYPE_LATEST)


class _Works(Collector):
    """What the archive has to do, asked when monitoring asks."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def describe(self) -> Iterator[Metric]:
        """Nothing: the names need not be known before the first question."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All of it."""
        figures: Figures = self._app.state.services.server_state.figures()
        yield InfoMetricFamily("firstlight", "The program.", {"version": __version__})
        yield _gauge("event_streams", "Event streams open now.", self._app.state.hub.open_streams)
        yield _gauge("database_up", "Whether the database answers.", figures.is_complete)
        if not figures.is_complete:
            return
        jobs = figures.jobs
        yield _gauge("last_event", "Number of the newest event.", figures.last_event)
        yield _gauges("arrivals", "Files that have come.", "state", figures.arrivals)
        yield _gauges("jobs", "Jobs on record.", "state", jobs.by_state)
        yield _gauges("queue_length", "Jobs that wait.", "queue", jobs.queued)
        yield _gauges(
            "queue_wait_seconds", "How long the first has waited.", "queue", jobs.oldest_wait_s
        )
        if jobs.last_heartbeat_s is not None:
            yield _gauge(
                "worker_heartbeat_age_seconds",
                "Since any process with workers was heard of.",
                jobs.last_heartbeat_s,
            )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"firstlight_{name}", text, value=float(value))


def _gauges(name: str, text: str, label: str, values: dict[str, Any]) -> Metric:
    family = GaugeMetricFamily(f"firstlight_{name}", text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], float(value))
    return family


def _route(scope: Scope) -> str:
    """The pattern that the address of a request fits, as ``/api/exposures/{which}``."""
    path = getattr(scope.get("route"), "path", None)
    if path is not None:
        return str(path)
    return "/static" if str(scope["path"]).startswith("/static/") else _NOWHERE
