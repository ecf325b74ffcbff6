"""Messages by which object storage tells that files have come."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from firstlight.services.access import Viewer
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

router = APIRouter(prefix="/api", tags=["arrivals"])

_MESSAGE: dict[str, Any] = {
    "Records": [
        {
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": "photonranch-001"},
                "object": {
                    "key": "data/tst-kb001ms-20220629-00010442-EX10.jpg",
                    "size": 183204,
                    "eTag": "9b2cf535f27731c974343645a3985328",
                },
            },
        }
    ]
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}, "example": _MESSAGE}},
    }
}


@router.post("/arrivals/s3", responses=shows({"announced": 1}, 400, 401, 403), openapi_extra=_BODY)
async def take_bucket_message(request: Request, asker: Asker) -> Response:
    """A message of S3, MinIO, Ceph or SeaweedFS, all of its records; it may come again.

    When this answers the files are safe in the upload log. Objects of buckets that nobody
    watches are passed over.
    """
    body = await request.body()
    return await run_in_threadpool(_take, request, asker, body)


def _take(request: Request, asker: Viewer, body: bytes) -> Response:
    asker.require_delivery()
    services = services_of(request)
    announcements = services.bucket_events.announcements(body)
    services.live.announce(announcements)
    return success({"announced": len(announcements)})


@router.head("/arrivals/s3", include_in_schema=False)
def be_there() -> Response:
    """What MinIO asks before it sends anything."""
    return Response()
