"""Runs as programs get them, under SkyPortal's names."""

from __future__ import annotations

from typing import Any

from firstlight.models.analysis import Analysis, AnalysisService
from firstlight.services.accounts.facts import wire_time
from firstlight.services.analyses.declared_parameters import names_of_files

__all__ = ["brief_facts", "detailed_facts", "run_facts"]

_HANDLER = "/webhook/obj_analysis"  # where SkyPortal says the answer is handled


def brief_facts(row: Analysis, name: str, service: AnalysisService | None) -> dict[str, Any]:
    """A run in the list of those of all objects.

    Parameters
    ----------
    name
        Of the object.
    service
        None where it was removed; its name is kept with the run.
    """
    return {
        "id": row.id,
        "obj_id": name,
        "status": row.status,
        "status_message": row.status_message,
        "created_at": wire_time(row.created_at),
        "last_activity": wire_time(row.modified_at),
        "analysis_service_id": row.service_id,
        "analysis_service_name": _shown_name(row, service),
        "analysis_service_description": None if service is None else service.description,
    }


def run_facts(
    row: Analysis, name: str, service: AnalysisService | None, groups: list[dict[str, Any]]
) -> dict[str, Any]:
    """All columns that SkyPortal's clients know. The token is not among them: nobody gets it."""
    facts = row.facts or {}
    return {
        **brief_facts(row, name, service),
        "modified": wire_time(row.modified_at),
        "author_id": row.owner_id,
        "hash": row.inputs_sha256,
        "show_parameters": row.show_parameters,
        "show_plots": row.show_plots,
        "show_corner": row.show_corner,
        "analysis_parameters": names_of_files(row.analysis_parameters),
        "input_filters": row.input_filters,
        "invalid_after": wire_time(row.invalid_after),
        "handled_by_url": _HANDLER,
        "duration": _duration(row),
        "num_plots": facts.get("num_plots", 0),
        "model_name": facts.get("model_name"),
        "n_detections": facts.get("n_detections"),
        "groups": groups,
    }


def detailed_facts(row: Analysis) -> dict[str, Any]:
    """What SkyPortal has no names for: its strict clients are given it only when they ask."""
    return {
        "service_version": row.service_version,
        "default_analysis_id": row.default_analysis_id,
        "rerun_of_id": row.rerun_of_id,
        "progress": row.progress,
        "error": row.error,
        "attempts": row.attempts,
        "next_try_at": wire_time(row.next_try_at),
        "sent_at": wire_time(row.sent_at),
        "finished_at": wire_time(row.finished_at),
        "inputs_sha256": row.inputs_sha256,
        "inputs_count": row.inputs_count,
        "facts": row.facts,
    }


def _shown_name(row: Analysis, service: AnalysisService | None) -> str:
    return row.service_name if service is None else service.display_name


def _duration(row: Analysis) -> float | None:
    """Seconds from when it was asked for until it ended."""
    if row.finished_at is None:
        return None
    return round((row.finished_at - row.created_at).total_seconds(), 3)
