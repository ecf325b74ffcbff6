"""Removing exposures whose time is over, with all that was made of them alone.

Images, source lists, solutions, zero points, step runs, files and headers of an exposure go with
it; so does its observation with the last of its exposures. What was made of several exposures is
not torn: **an exposure stays, and is told, while such a product needs it**. A light curve set, or
a registration onto this exposure, needs it until the time of all exposures concerned is over, and
then goes with the first of them. A master calibration always does: the images that it calibrated
lead back to it.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session, aliased

from firstlight.models.astrometry import Registration, WorldCoordinates
from firstlight.models.expiration import PassingFile
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import ExposureFile
from firstlight.models.image import Image, ImageInput
from firstlight.models.observation import Observation
from firstlight.models.observation_file import ObservationFile
from firstlight.models.photometry import LightCurve, LightCurveSet, Photometry
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun
from firstlight.models.zero_point import ZeroPoint
from firstlight.services.expiry.leftovers import remember

__all__ = ["Files", "Verdict", "delete_exposures", "files_of", "judge"]

Files = dict[str, int | None]
"""Bytes by key; None where rows do not say."""


@dataclass(frozen=True)
class Verdict:
    """Which of the exposures asked about may go.

    Parameters
    ----------
    going
        Their time is over and nothing needs them.
    kept
        The time of these is over, too: by exposure, what needs it.
    finished_sets
        Light curve sets that go with them.
    """

    going: list[Exposure]
    kept: dict[Exposure, str]
    finished_sets: list[uuid.UUID]


def due(now: datetime) -> ColumnElement[bool]:
    """Exposures whose time is over."""
    return Exposure.expires_at <= now


def judge(session: Session, ids: Collection[uuid.UUID], now: datetime) -> Verdict:
    """Tell which exposures may go, and hold their rows to the end of the transaction.

    An exposure that another transaction is working on, because a file of it has come, is left
    for the next time.
    """
    exposures = session.scalars(
        select(Exposure)
        .where(Exposure.id.in_(ids), due(now))
        .order_by(Exposure.expires_at, Exposure.id)
        .with_for_update(skip_locked=True)
    ).all()
    held = [exposure.id for exposure in exposures]
    sets, in_sets = _light_curve_sets(session, held, now)
    needed = {**in_sets, **_references(session, held, now), **_inputs(session, held)}
    return Verdict(
        going=[exposure for exposure in exposures if exposure.id not in needed],
        kept={exposure: needed[exposure.id] for exposure in exposures if exposure.id in needed},
        finished_sets=sets,
    )


def _inputs(session: Session, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Exposures that other images were made of."""
    made, used = aliased(Image), aliased(Image)
    of_exposure = select(ImageInput.input_exposure_id, made.kind, made.exposure_id).join(
        made, made.id == ImageInput.image_id
    )
    of_image = (
        select(used.exposure_id, made.kind, made.exposure_id)
        .select_from(ImageInput)
        .join(made, made.id == ImageInput.image_id)
        .join(used, used.id == ImageInput.input_image_id)
    )
    rows = [
        *session.execute(of_exposure.where(ImageInput.input_exposure_id.in_(ids))),
        *session.execute(of_image.where(used.exposure_id.in_(ids))),
    ]
    return {
        source: f"an image of kind {kind} was made of it"
        for source, kind, owner in rows
        if source is not None and owner != source
    }


def _light_curve_sets(
    session: Session, ids: Sequence[uuid.UUID], now: datetime
) -> tuple[list[uuid.UUID], dict[uuid.UUID, str]]:
    """Light curve sets all of whose exposures are due, and exposures that others need."""
    touched = session.execute(
        select(Photometry.set_id, Image.exposure_id)
        .join(Image, Image.id == Photometry.image_id)
        .where(Image.exposure_id.in_(ids), Photometry.set_id.is_not(None))
        .distinct()
    ).all()
    lasting = set(
        session.scalars(
            select(LightCurveSet.id)
            .join(Exposure, Exposure.observation_id == LightCurveSet.observation_id)
            .where(
                LightCurveSet.id.in_({set_id for set_id, _ in touched}),
                or_(Exposure.expires_at.is_(None), Exposure.expires_at > now),
            )
        )
    )
    needed = {
        exposure_id: "light curves with exposures that stay were made of it"
        for set_id, exposure_id in touched
        if set_id in lasting and exposure_id is not None
    }
    finished = {set_id for set_id, _ in touched if set_id is not None} - lasting
    return sorted(finished), needed


def _references(session: Session, ids: Sequence[uuid.UUID], now: datetime) -> dict[uuid.UUID, str]:
    """Exposures onto which others, which stay, were registered."""
    reference, moved = aliased(SourceList), aliased(SourceList)
    base, image = aliased(Image), aliased(Image)
    found = session.scalars(
        select(base.exposure_id)
        .select_from(Registration)
        .join(reference, reference.id == Registration.reference_sources_id)
        .join(base, base.id == reference.image_id)
        .join(moved, moved.id == Registration.sources_id)
        .join(image, image.id == moved.image_id)
        .join(Exposure, Exposure.id == image.exposure_id)
        .where(
            base.exposure_id.in_(ids),
            image.exposure_id != base.exposure_id,
            or_(Exposure.expires_at.is_(None), Exposure.expires_at > now),
        )
        .distinct()
    )
    return {
        exposure_id: "exposures that stay are registered onto it"
        for exposure_id in found
        if exposure_id is not None
    }


def files_of(session: Session, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Files]:
    """All stored files of exposures and of what was made of each alone, by exposure."""
    files: dict[uuid.UUID, Files] = {exposure_id: {} for exposure_id in ids}
    raws = select(
        Exposure.id, Exposure.filename, Exposure.filename_extensions, Exposure.size
    ).where(Exposure.id.in_(ids))
    for owner, filename, extensions, size in session.execute(raws):
        for key in _keys(filename, extensions):
            files[owner][key] = size if extensions is None else None
    images = select(Image.exposure_id, Image.filename, Image.filename_extensions)
    for image_of, filename, extensions in session.execute(images.where(Image.exposure_id.in_(ids))):
        assert image_of is not None  # noqa: S101, the query asks for those of exposures
        files[image_of].update(dict.fromkeys(_keys(filename, extensions)))
    tables = select(Image.exposure_id, SourceList.filename).join(
        SourceList, SourceList.image_id == Image.id
    )
    for image_of, filename in session.execute(tables.where(Image.exposure_id.in_(ids))):
        assert image_of is not None  # noqa: S101, the query asks for those of exposures
        files[image_of][filename] = None
    stored = select(ExposureFile.exposure_id, ExposureFile.key, ExposureFile.size)
    for owner, key, size in session.execute(stored.where(ExposureFile.exposure_id.in_(ids))):
        files[owner][key] = size
    return files


def _keys(filename: str | None, extensions: Sequence[str] | None) -> list[str]:
    return [] if filename is None else [filename + end for end in extensions or [""]]


def delete_exposures(
    session: Session, verdict: Verdict, sizes: Mapping[str, int], when: datetime
) -> None:
    """Delete the rows of exposures that may go, and note their files.

    Parameters
    ----------
    sizes
        Bytes by key, of all files of these exposures.
    when
        The bytes are removed then.
    """
    ids = [exposure.id for exposure in verdict.going]
    if not ids:
        return
    observations = {exposure.observation_id for exposure in verdict.going} - {None}
    remember(session, sizes, when)
    session.execute(
        update(PassingFile)
        .where(PassingFile.exposure_id.in_(ids), PassingFile.expires_at > when)
        .values(expires_at=when)
    )
    _delete_sets(session, verdict.finished_sets)
    _delete_products(session, ids)
    for exposure in verdict.going:
        session.expunge(exposure)
    session.execute(delete(Exposure).where(Exposure.id.in_(ids)))
    _delete_empty_observations(session, observations, when)


def _delete_sets(session: Session, ids: Collection[uuid.UUID]) -> None:
    session.execute(delete(Photometry).where(Photometry.set_id.in_(ids)))
    session.execute(delete(LightCurve).where(LightCurve.set_id.in_(ids)))
    session.execute(delete(LightCurveSet).where(LightCurveSet.id.in_(ids)))


def _delete_products(session: Session, ids: Sequence[uuid.UUID]) -> None:
    """Delete what points at the exposures, from the last link of the chain to the first."""
    images = session.scalars(select(Image.id).where(Image.exposure_id.in_(ids))).all()
    lists = session.scalars(select(SourceList.id).where(SourceList.image_id.in_(images))).all()
    solutions = select(WorldCoordinates.id).where(WorldCoordinates.sources_id.in_(lists))
    for rows in (
        delete(ZeroPoint).where(
            or_(ZeroPoint.sources_id.in_(lists), ZeroPoint.wcs_id.in_(solutions))
        ),
        delete(WorldCoordinates).where(WorldCoordinates.sources_id.in_(lists)),
        delete(Registration).where(
            or_(Registration.sources_id.in_(lists), Registration.reference_sources_id.in_(lists))
        ),
        delete(SourceList).where(SourceList.id.in_(lists)),
        delete(ImageInput).where(ImageInput.image_id.in_(images)),
        delete(Image).where(Image.id.in_(images)),
        delete(StepRun).where(StepRun.exposure_id.in_(ids)),
    ):
        session.execute(rows.execution_options(synchronize_session=False))


def _delete_empty_observations(
    session: Session, ids: Collection[uuid.UUID | None], when: datetime
) -> None:
    """Delete observations without exposures.

    One that another transaction holds, because it adds an exposure, is not empty.
    """
    held = session.scalars(
        select(Observation.id)
        .where(Observation.id.in_(ids))
        .order_by(Observation.id)
        .with_for_update(skip_locked=True)
    ).all()
    peopled = session.scalars(
        select(Exposure.observation_id).where(Exposure.observation_id.in_(held)).distinct()
    ).all()
    empty = sorted(set(held) - set(peopled))
    if not empty:
        return
    files = session.execute(
        select(ObservationFile.key, ObservationFile.size).where(
            ObservationFile.observation_id.in_(empty)
        )
    ).all()
    remember(session, {file.key: file.size for file in files}, when)
    sets = session.scalars(
        select(LightCurveSet.id).where(LightCurveSet.observation_id.in_(empty))
    ).all()
    _delete_sets(session, sets)
    session.execute(delete(ObservationFile).where(ObservationFile.observation_id.in_(empty)))
    session.execute(delete(Observation).where(Observation.id.in_(empty)))
