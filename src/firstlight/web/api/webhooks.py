"""Webhooks: addresses that are told of events."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

router = APIRouter(prefix="/api", tags=["webhooks"])

WebhookId = Annotated[uuid.UUID, Path(description="Id of the webhook.")]

_WEBHOOK: dict[str, Any] = {
    "id": "7d0c8f3a-0b8e-4f0e-8a0a-4a7d3f1b2c11",
    "url": "https://hooks.example/firstlight",
    "sites": ["tst"],
    "topics": ["imagedata"],
    "owner": "portal",
    "enabled": True,
    "position": 4711,
    "failures": 0,
    "next_try_at": None,
    "last_error": None,
    "created_at": "2026-08-24T20:15:00+00:00",
}
_TRIED = {"outcome": "ok", "status": 204, "error": None}


class WebhookRequest(BaseModel):
    """A webhook to be added."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"url": _WEBHOOK["url"], "sites": ["tst"], "topics": ["imagedata"]}
        },
    )

    url: str = Field(min_length=1, max_length=2048)
    sites: list[str] | None = None
    topics: list[str] | None = None


@router.get("/webhooks", responses=shows([_WEBHOOK], 401))
def list_webhooks(request: Request, asker: Asker) -> Response:
    """One's own webhooks; all of them for who may `admin`."""
    return success(services_of(request).webhooks.list(asker))


@router.post(
    "/webhooks",
    status_code=201,
    responses=shows({**_WEBHOOK, "secret": "8f1c..."}, 400, 401, 403, status=201),
)
def add_webhook(
    request: Request, asker: Asker, body: Annotated[WebhookRequest, Body()]
) -> Response:
    """Be told of events, from the next one on.

    Each request has the header `X-Firstlight-Signature: t=SECONDS,v1=HEXADECIMAL`: the
    HMAC-SHA256 of the time, a full stop and the body, with the secret that is shown in this
    answer and never again. Its body is `{"events": [{"number", "topic", "site", "data",
    "created_at"}, ...]}`, in order; a batch may come twice.
    """
    new = services_of(request).webhooks.add(body.url, asker, sites=body.sites, topics=body.topics)
    return success({**new.facts, "secret": new.secret}, 201)


@router.delete("/webhooks/{webhook_id}", responses=shows(None, 401, 404))
def remove_webhook(request: Request, asker: Asker, webhook_id: WebhookId) -> Response:
    """Be told no more."""
    services_of(request).webhooks.remove(webhook_id, asker)
    return success()


@router.post("/webhooks/{webhook_id}/enable", responses=shows(_WEBHOOK, 401, 404))
def enable_webhook(request: Request, asker: Asker, webhook_id: WebhookId) -> Response:
    """Begin again after it was given up, with the first event that is still kept."""
    return success(services_of(request).webhooks.enable(webhook_id, asker))


@router.post("/webhooks/{webhook_id}/ping", responses=shows(_TRIED, 401, 404))
def ping_webhook(request: Request, asker: Asker, webhook_id: WebhookId) -> Response:
    """Send one event of topic `ping` now, and tell what came of it."""
    return success(services_of(request).webhooks.ping(webhook_id, asker))
