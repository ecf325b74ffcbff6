"""Writing forced photometry: the points of sections, and what these were measured from."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from firstlight.models.exposure import Exposure
from firstlight.models.forced_run import ForcedRun
from firstlight.models.image import Image
from firstlight.models.photometry import FORCED, Photometry
from firstlight.services.object_matching import belonging
from firstlight.services.transients.forced_points import Frame, Points
from firstlight.services.transients.forced_sections import Present, SectionKey
from firstlight.services.transients.point_writing import upsert_points
from firstlight.services.transients.sky_rows import some_of

__all__ = ["SectionWriter"]


class SectionWriter:
    """Writes points of some sections in one transaction. Does not commit.

    Parameters
    ----------
    provenance_id
        How points were measured.
    sections
        They are locked: see `lock_name`.
    """

    def __init__(
        self, session: Session, provenance_id: str, sections: Collection[SectionKey]
    ) -> None:
        self._session = session
        self._provenance_id = provenance_id
        self._runs: dict[SectionKey, ForcedRun] = {}
        self._belonging: dict[tuple[str, str | None], dict[str, int]] = {}
        for some in some_of({exposure for exposure, _ in sections}):
            for run in session.scalars(select(ForcedRun).where(ForcedRun.exposure_id.in_(some))):
                self._runs[run.exposure_id, run.section_id] = run

    def is_measured(self, present: Present) -> bool:
        """Whether a section was measured from its present products."""
        run = self._runs.get(present.key)
        return run is not None and (run.difference_id, run.zero_point_id, run.provenance_id) == (
            present.difference_id,
            present.zero_point_id,
            self._provenance_id,
        )

    def add(self, frame: Frame, points: Points) -> None:
        """Write points of a section beside those of other Objects."""
        if points:
            shared = points.shared | self._belongs(frame.exposure)
            shared["provenance_id"] = self._provenance_id
            upsert_points(self._session, shared, points.columns)

    def replace(self, frame: Frame, points: Points) -> set[uuid.UUID]:
        """Write all points of a section; returns the Objects whose points have changed."""
        present, objects = frame.present, set(points.objects)
        changed = self.forget(present.key, keep=objects)
        self.add(frame, points)
        run = self._runs.get(present.key)
        if run is None:
            run = ForcedRun(exposure_id=present.exposure_id, section_id=present.section_id)
            self._session.add(run)
        run.image_id = present.image_id
        run.difference_id = present.difference_id
        run.zero_point_id = present.zero_point_id
        run.provenance_id = self._provenance_id
        run.n_objects = len(points)
        return changed | objects

    def forget(self, key: SectionKey, keep: Collection[uuid.UUID] = ()) -> set[uuid.UUID]:
        """Remove points of a section but for those of some Objects; returns whose they were."""
        run = self._runs.get(key)
        if run is None:
            return set()
        images = select(Image.id).where(Image.exposure_id == key[0], Image.section_id == key[1])
        points = self._session.execute(
            select(Photometry.id, Photometry.object_id).where(
                Photometry.image_id.in_(images), Photometry.origin == FORCED
            )
        ).all()
        gone = [row for row in points if row.object_id not in keep]
        for some in some_of(row.id for row in gone):
            self._session.execute(delete(Photometry).where(Photometry.id.in_(some)))
        if not keep:
            self._session.delete(self._runs.pop(key))
            self._session.flush()
        return {row.object_id for row in gone}

    def _belongs(self, exposure: Exposure) -> dict[str, int]:
        key = exposure.instrument, exposure.site
        if key not in self._belonging:
            self._belonging[key] = belonging(self._session, exposure)
        return self._belonging[key]
