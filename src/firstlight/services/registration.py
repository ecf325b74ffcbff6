"""Registration: frames of one observation onto each other, where the sky gives no solution."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

import numpy as np

from firstlight.algorithms.plate.registration import NotRegistered, register
from firstlight.models.astrometry import Registration
from firstlight.models.database import Database
from firstlight.models.provenance import Provenance, Software
from firstlight.pipeline.reduced_frame import ReducedFrame
from firstlight.provenance.fingerprint import fingerprint
from firstlight.provenance.lineage import Lineage
from firstlight.services.observation_frames import reduced_frames
from firstlight.services.products import save_rows
from firstlight.work.engine import JobRequest

__all__ = ["RegistrationService"]


class RegistrationService:
    """Finds how unsolved frames lie on the best frame of their observation.

    Parameters
    ----------
    database
        The tables.
    upstream
        Lineage of the source lists.
    """

    def __init__(self, *, database: Database, upstream: Lineage) -> None:
        self._database = database
        self.lineage = Lineage("register", "2", {}, (upstream,))

    def plan(
        self, retry_failed: bool = False, observations: Collection[uuid.UUID] | None = None
    ) -> list[JobRequest]:
        """One job for each section of an observation that has frames to be registered."""
        del retry_failed  # planned again anyhow, as long as a frame is missing
        requests = []
        with self._database.reading() as session:
            for (observation, section), frames in reduced_frames(session, observations).items():
                wanted = self._wanted(frames)
                missing = [row for row in wanted if session.get(Registration, row.id) is None]
                if missing:
                    facts = [str(row.id) for row in missing]
                    requests.append(
                        JobRequest(
                            job_id=f"register-{fingerprint(facts)}",
                            name="register",
                            payload={"observation": str(observation), "section": section},
                        )
                    )
        return requests

    def register(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Register the frames of one section of one observation.

        Returns
        -------
        dict
            ``failures``: one sentence for each frame that does not fit.
        """
        key = uuid.UUID(payload["observation"]), str(payload["section"])
        with self._database.reading() as session:
            frames = reduced_frames(session, [key[0]])[key]
        reference = _reference(frames)
        by_sources = {frame.sources.id: frame for frame in frames}
        made, failures = [], []
        for row in self._wanted(frames):
            frame = by_sources[row.sources_id]
            answer = register(*_stars(frame), *_stars(reference))
            if isinstance(answer, NotRegistered):
                failures.append(f"{frame.exposure.filename}: not registered: {answer.reason}")
                continue
            row.matrix = np.asarray(answer.matrix).tolist()
            row.rms_pixels = float(answer.rms)
            row.n_matched = len(answer.matched)
            row.log_odds = float(answer.log_odds)
            made.append(row)
        with self._database.begin() as session:
            Software.record(session)
            Provenance.record(session, self.lineage)
            save_rows(session, list(made))
        return {"failures": failures}

    def _wanted(self, frames: list[ReducedFrame]) -> list[Registration]:
        """Rows to be made, with their ids: for every frame that has no place on the sky."""
        if len(frames) < 2:
            return []
        reference = _reference(frames)
        wanted = []
        for frame in frames:
            if frame.wcs is None and frame is not reference:
                row = Registration(
                    sources_id=frame.sources.id, reference_sources_id=reference.sources.id
                )
                row.made_by(
                    self.lineage, {"sources": row.sources_id, "onto": row.reference_sources_id}
                )
                wanted.append(row)
        return wanted


def _reference(frames: list[ReducedFrame]) -> ReducedFrame:
    """The frame that others are laid on: solved if any is, with the most sources."""
    return max(frames, key=lambda frame: (frame.wcs is not None, frame.sources.n_sources))


def _stars(frame: ReducedFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = frame.sources.table
    return np.asarray(table["x"]), np.asarray(table["y"]), np.asarray(table["snr"])
