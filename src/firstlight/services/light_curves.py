"""Light curves by apertures: solved for each observation, kept as photometry of Objects."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from firstlight.errors import FirstlightError
from firstlight.instruments.mosaic_camera import MosaicCamera
from firstlight.models.base import finite_or_none
from firstlight.models.database import Database, bulk_insert
from firstlight.models.photometry import LightCurve, LightCurveSet, Photometry
from firstlight.models.provenance import Provenance, ProvenanceTag, Software
from firstlight.pipeline.reduced_frame import ReducedFrame
from firstlight.pipeline.solve_light_curves import VERSION, SolvedLightCurves, solve_light_curves
from firstlight.pipeline.star_field import StarField, measure_star_field
from firstlight.provenance.fingerprint import product_id
from firstlight.provenance.lineage import Lineage
from firstlight.services.object_matching import belonging, objects_at
from firstlight.services.objects.object_summary import summarise
from firstlight.services.observation_frames import reduced_frames
from firstlight.services.settings import LightCurveSettings
from firstlight.work.engine import JobRequest

__all__ = ["LightCurveService"]

CURRENT = "current"
PROCESS = "light_curves"


@dataclass(frozen=True)
class _Task:
    """Light curves of one section of one observation, as the present products allow."""

    observation: uuid.UUID
    section: str
    set_id: uuid.UUID


class LightCurveService:
    """Solves and stores light curves.

    Parameters
    ----------
    database
        The tables.
    upstream
        Lineages of the products that light curves take.
    settings
        Matching and coverage.
    """

    def __init__(
        self, *, database: Database, upstream: tuple[Lineage, ...], settings: LightCurveSettings
    ) -> None:
        self._database = database
        self._settings = settings
        parameters = settings.model_dump(mode="json", exclude={"of_mosaics"})
        self.lineage = Lineage(PROCESS, VERSION, parameters, upstream)

    def plan(
        self, retry_failed: bool = False, observations: Collection[uuid.UUID] | None = None
    ) -> list[JobRequest]:
        """One job for each section of an observation whose frames have changed.

        None for cameras whose colours are sections, unless the settings ask for them: their
        stars are not wider than a pixel of a colour, and have light curves from stamps.
        """
        del retry_failed  # what could not be solved is planned again: it is quickly told
        requests = []
        with self._database.reading() as session:
            for key, frames in reduced_frames(session, observations).items():
                if len(frames) < self._settings.min_exposures or not self._is_wanted(frames):
                    continue
                task = self._task(key, [i for frame in frames for i in frame.product_ids])
                if session.get(LightCurveSet, task.set_id) is None:
                    requests.append(
                        JobRequest(
                            job_id=f"light-curves-{task.set_id.hex}",
                            name="light_curves",
                            payload={"observation": str(key[0]), "section": key[1]},
                        )
                    )
        with self._database.begin() as session:
            ProvenanceTag.point(session, CURRENT, self.lineage)
        return requests

    def solve(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Make the light curves of one section of one observation and save them.

        Returns
        -------
        dict
            ``failures``: one sentence where there can be none.
        """
        key = uuid.UUID(payload["observation"]), str(payload["section"])
        with self._database.reading() as session:
            frames = reduced_frames(session, [key[0]])[key]
        task = self._task(key, [i for frame in frames for i in frame.product_ids])
        try:
            field = measure_star_field(
                frames,
                match_radius_fwhm=self._settings.match_radius_fwhm,
                min_coverage=self._settings.min_coverage,
                min_exposures=self._settings.min_exposures,
                aperture_fwhm=self._settings.aperture_fwhm,
            )
            solved = solve_light_curves(field)
        except FirstlightError as fault:
            fault.subject = f"{frames[0].exposure.target or 'field'}, section {key[1]}"
            return {"failures": [f"light curves: {fault}"]}
        with self._database.begin() as session:
            self._save(session, task, field, solved)
        return {"failures": []}

    def _is_wanted(self, frames: list[ReducedFrame]) -> bool:
        camera = frames[0].exposure.instrument_object
        return self._settings.of_mosaics or not isinstance(camera, MosaicCamera)

    def _task(self, key: tuple[uuid.UUID, str], product_ids: list[str]) -> _Task:
        return _Task(*key, product_id(self.lineage.id, sorted(product_ids), key[1]))

    def _save(
        self, session: Session, task: _Task, field: StarField, solved: SolvedLightCurves
    ) -> None:
        if session.get(LightCurveSet, task.set_id) is not None:
            return
        software = Software.record(session)
        Provenance.record(session, self.lineage)
        session.add(
            LightCurveSet(
                id=task.set_id,
                provenance_id=self.lineage.id,
                software_id=software.id,
                observation_id=task.observation,
                section_id=task.section,
                frame=field.plane,
                n_stars=len(field.place),
                n_images=len(field.frames),
                summary=solved.summary(field),
            )
        )
        session.flush()
        objects: list[uuid.UUID | None] = [None] * len(field.place)
        if field.plane == "sky":
            radius = self._settings.object_radius_arcsec / 3600.0
            ra, dec = field.place.T
            site = field.frames[0].exposure.site
            objects = list(objects_at(session, ra, dec, radius=radius, origin=PROCESS, site=site))
        bulk_insert(session, LightCurve, _curve_rows(task, field, solved, objects))
        if field.plane == "sky":
            belongs = belonging(session, field.frames[0].exposure)
            rows = _photometry_rows(task, self.lineage.id, field, solved, objects)
            bulk_insert(session, Photometry, [row | belongs for row in rows])
            summarise(session, objects)


def _curve_rows(
    task: _Task,
    field: StarField,
    solved: SolvedLightCurves,
    objects: list[uuid.UUID | None],
) -> list[dict[str, Any]]:
    numbers, candidates = solved.statistics, solved.candidates
    with np.errstate(invalid="ignore"):
        mag = _row_medians(solved.mag)
    return [
        {
            "set_id": task.set_id,
            "number": n,
            "object_id": objects[n],
            "x": float(np.nanmean(field.x[n])),
            "y": float(np.nanmean(field.y[n])),
            "n_points": int(numbers.points[n]),
            "mag": finite_or_none(mag[n]),
            "scatter": finite_or_none(numbers.scatter[n]),
            "expected_scatter": finite_or_none(numbers.expected[n]),
            "chi2": finite_or_none(numbers.reduced_chi2[n]),
            "is_candidate": bool(candidates.is_candidate[n]),
            "statistics": {
                "rms": finite_or_none(numbers.rms[n]),
                "von_neumann": finite_or_none(numbers.von_neumann[n]),
                "stetson_j": finite_or_none(numbers.stetson_j[n]),
                "peak_to_peak": finite_or_none(numbers.peak_to_peak[n]),
                "false_alarm": finite_or_none(candidates.false_alarm[n]),
                "detections": int(field.detected[n].sum()),
                "aperture": int(solved.ensemble.aperture[n]),
            },
        }
        for n in range(len(field.place))
    ]


def _photometry_rows(
    task: _Task,
    provenance_id: str,
    field: StarField,
    solved: SolvedLightCurves,
    objects: list[uuid.UUID | None],
) -> list[dict[str, Any]]:
    relative, relative_err = solved.ensemble.rel_flux, solved.ensemble.rel_flux_err
    rows = []
    for f, frame in enumerate(field.frames):
        system = frame.zero_point.system if frame.zero_point is not None else None
        common = {
            "image_id": frame.image.id,
            "set_id": task.set_id,
            "provenance_id": provenance_id,
            "mjd": frame.image.mjd,
            "filter": frame.image.filter,
            "mag_system": system,
            "airmass": frame.exposure.airmass,
        }
        measured = np.isfinite(field.x[:, f]) & np.isfinite(solved.bjd[:, f])
        rows += [
            common
            | {
                "key": product_id(task.set_id.hex, [n, f]),
                "object_id": objects[n],
                "bjd_tdb": float(solved.bjd[n, f]),
                "flux_ujy": finite_or_none(solved.flux_ujy[n, f]),
                "flux_err_ujy": finite_or_none(solved.flux_err_ujy[n, f]),
                "mag": finite_or_none(solved.mag[n, f]),
                "mag_err": finite_or_none(solved.mag_err[n, f]),
                "rel_flux": finite_or_none(relative[n, f]),
                "rel_flux_err": finite_or_none(relative_err[n, f]),
                "x": float(field.x[n, f]),
                "y": float(field.y[n, f]),
                "flags": int(solved.flags[n, f]),
            }
            for n in np.flatnonzero(measured).tolist()
        ]
    return rows


def _row_medians(values: np.ndarray) -> np.ndarray:
    out = np.full(len(values), np.nan)
    seen = np.isfinite(values).any(axis=1)
    out[seen] = np.nanmedian(values[seen], axis=1)
    return out
