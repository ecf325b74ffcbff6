"""The end of an analysis, written down and told; whoever writes it need not be able to analyse."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from firstlight.models.account import UserNotification
from firstlight.models.database import bulk_insert
from firstlight.models.event import Event, record_events
from firstlight.models.image_analysis import AnalysisState, ImageAnalysis, UploadedImage
from firstlight.provenance.fingerprint import product_id
from firstlight.services.image_analysis.image_analysis_shapes import page_of, tied_to

__all__ = ["TOPIC", "ended", "state_event"]

TOPIC = "image_analysis"


def ended(
    session: Session,
    row: ImageAnalysis,
    object_name: str,
    state: AnalysisState,
    error: dict[str, Any] | None,
    now: datetime,
) -> None:
    """Write the end of an analysis: its state, the notification and the events. No commit."""
    row.state, row.error, row.finished_at = state, error, now
    if state != AnalysisState.CANCELLED and row.owner_id is not None:
        _notify(session, row, object_name)
    record_events(session, [state_event(row, object_name)])


def _notify(session: Session, row: ImageAnalysis, object_name: str) -> None:
    done = row.state == AnalysisState.DONE
    upload = session.get_one(UploadedImage, row.upload_id)
    text = f"{upload.filename}: {_outcome(row)} ({object_name})"
    notification = {
        "user_id": row.owner_id,
        "kind": "success" if done else "error",
        "text": text[:1000],
        "url": page_of(object_name, row.id),
        # Told once, however often a worker comes to the end of this analysis.
        "key": product_id("image_analysis.ended", [row.id]),
    }
    bulk_insert(session, UserNotification, [notification])


def _outcome(row: ImageAnalysis) -> str:
    if row.error is not None:
        return f"{row.error['title']}: {row.error['message']}"
    preview: dict[str, Any] = (row.result or {}).get("preview") or {}
    measured = preview.get("methods", {}).get(preview.get("chosen"), {})
    own, tied = preview.get("filter"), tied_to(preview)
    band = tied if tied.startswith(f"{own} ") else f"{own}, as {tied}"
    if measured.get("magnitude") is None:
        return f"not detected, {band} > {measured.get('limit') or 0:.2f}"
    return f"{band} = {measured['magnitude']:.3f} ± {measured['magnitude_err']:.3f}"


def state_event(row: ImageAnalysis, object_name: str, **more: Any) -> Event:
    """The event that tells of a change."""
    data = {"analysis": row.id, "object": object_name, "state": str(row.state), **more}
    return Event(topic=TOPIC, site=None, audience_id=row.audience_id, data=data)
