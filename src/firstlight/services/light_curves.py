"""Light curves: solved for each observation, kept as photometry of Objects, found by position."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.algorithms.sky_index import healpix_index
from firstlight.errors import FirstlightError
from firstlight.models.base import utc_now
from firstlight.models.database import Database, bulk_insert
from firstlight.models.object import Object, coordinate_name
from firstlight.models.photometry import LightCurve, LightCurveSet, Photometry
from firstlight.models.provenance import Provenance, ProvenanceTag, Software
from firstlight.models.sky_search import find_in_cone
from firstlight.pipeline.solve_light_curves import VERSION, SolvedLightCurves, solve_light_curves
from firstlight.pipeline.star_field import StarField, measure_star_field
from firstlight.provenance.fingerprint import product_id
from firstlight.provenance.lineage import Lineage
from firstlight.services.object_matching import match_objects
from firstlight.services.observation_frames import reduced_frames
from firstlight.services.settings import LightCurveSettings
from firstlight.services.star_light_curve import StarLightCurve, StarNotFound, parse_target
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
    """Solves, stores and finds light curves.

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
        self.lineage = Lineage(PROCESS, VERSION, settings.model_dump(mode="json"), upstream)

    def plan(self, retry_failed: bool = False) -> list[JobRequest]:
        """One job for each section of an observation whose frames have changed."""
        del retry_failed  # what could not be solved is planned again: it is quickly told
        requests = []
        with self._database.reading() as session:
            for key, frames in reduced_frames(session).items():
                if len(frames) < self._settings.min_exposures:
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
            frames = reduced_frames(session)[key]
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

    def find(self, target: str, *, radius_arcsec: float = 10.0) -> StarLightCurve:
        """The light curve of the star nearest to a position, or of a named Object.

        Raises
        ------
        StarNotFound
            There is no star with a light curve.
        """
        position = parse_target(target)
        with self._database.reading() as session:
            if position is None:
                row = session.scalar(select(Object).where(Object.name == target.strip()))
                near = [] if row is None else [(row, 0.0)]
            else:
                near = find_in_cone(session, Object, *position, radius_arcsec / 3600.0)
            for star, _ in near:
                sets = self._current_sets(session, star.id)
                if sets:
                    points = session.scalars(
                        select(Photometry)
                        .where(Photometry.object_id == star.id, Photometry.set_id.in_(sets))
                        .order_by(Photometry.mjd, Photometry.id)
                    ).all()
                    return StarLightCurve(star, list(points))
        raise StarNotFound(
            subject=target,
            expected=f"a star with a light curve within {radius_arcsec:g} arcseconds"
            if position
            else "the name of an Object with a light curve",
            hint="firstlight stars --all lists them; reduce makes them",
        )

    def statistics(self, *, candidates_only: bool = False) -> list[dict[str, Any]]:
        """Numbers of every current light curve, most variable first."""
        with self._database.reading() as session:
            sets = self._current_sets(session)
            query = (
                select(LightCurve, Object)
                .outerjoin(Object, Object.id == LightCurve.object_id)
                .where(LightCurve.set_id.in_(sets))
            )
            if candidates_only:
                query = query.where(LightCurve.is_candidate)
            rows = [_numbers(curve, star) for curve, star in session.execute(query)]
        return sorted(rows, key=_most_variable_first)

    def _task(self, key: tuple[uuid.UUID, str], product_ids: list[str]) -> _Task:
        return _Task(*key, product_id(self.lineage.id, sorted(product_ids), key[1]))

    def _current_sets(self, session: Session, star: uuid.UUID | None = None) -> list[uuid.UUID]:
        """The newest set of each observation and section under the current provenance."""
        tag = session.get(ProvenanceTag, (CURRENT, PROCESS))
        if tag is None:
            return []
        query = (
            select(LightCurveSet)
            .where(LightCurveSet.provenance_id == tag.provenance_id)
            .order_by(LightCurveSet.created_at)
        )
        if star is not None:
            query = query.join(LightCurve).where(LightCurve.object_id == star)
        newest = {(row.observation_id, row.section_id): row.id for row in session.scalars(query)}
        return list(newest.values())

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
            objects = list(self._objects(session, field))
        bulk_insert(session, LightCurve, _curve_rows(task, field, solved, objects))
        if field.plane == "sky":
            rows = _photometry_rows(task, self.lineage.id, field, solved, objects)
            bulk_insert(session, Photometry, rows)

    def _objects(self, session: Session, field: StarField) -> list[uuid.UUID]:
        """Ids of the Objects at the stars' places; new ones are added."""
        ra, dec = field.place.T
        found = match_objects(session, ra, dec, self._settings.object_radius_arcsec / 3600.0)
        now, index = utc_now(), healpix_index(ra, dec)
        new = []
        for n in range(len(ra)):
            if found[n] is None:
                name = coordinate_name(float(ra[n]), float(dec[n]))
                found[n] = product_id("object", [name])
                new.append(
                    {
                        "id": found[n],
                        "name": name,
                        "ra": float(ra[n]),
                        "dec": float(dec[n]),
                        "hpx": int(index[n]),
                        "origin": PROCESS,
                        "created_at": now,
                    }
                )
        bulk_insert(session, Object, new)
        return [ident for ident in found if ident is not None]


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
            "mag": _finite(mag[n]),
            "scatter": _finite(numbers.scatter[n]),
            "expected_scatter": _finite(numbers.expected[n]),
            "chi2": _finite(numbers.reduced_chi2[n]),
            "is_candidate": bool(candidates.is_candidate[n]),
            "statistics": {
                "rms": _finite(numbers.rms[n]),
                "von_neumann": _finite(numbers.von_neumann[n]),
                "stetson_j": _finite(numbers.stetson_j[n]),
                "peak_to_peak": _finite(numbers.peak_to_peak[n]),
                "false_alarm": _finite(candidates.false_alarm[n]),
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
                "id": product_id(task.set_id.hex, [n, f]),
                "object_id": objects[n],
                "bjd_tdb": float(solved.bjd[n, f]),
                "flux_ujy": _finite(solved.flux_ujy[n, f]),
                "flux_err_ujy": _finite(solved.flux_err_ujy[n, f]),
                "mag": _finite(solved.mag[n, f]),
                "mag_err": _finite(solved.mag_err[n, f]),
                "rel_flux": _finite(relative[n, f]),
                "rel_flux_err": _finite(relative_err[n, f]),
                "x": float(field.x[n, f]),
                "y": float(field.y[n, f]),
                "flags": int(solved.flags[n, f]),
            }
            for n in np.flatnonzero(measured).tolist()
        ]
    return rows


def _numbers(curve: LightCurve, star: Object | None) -> dict[str, Any]:
    return {
        "name": star.name if star is not None else None,
        "ra": star.ra if star is not None else None,
        "dec": star.dec if star is not None else None,
        "x": curve.x,
        "y": curve.y,
        "n_points": curve.n_points,
        "mag": curve.mag,
        "scatter": curve.scatter,
        "expected_scatter": curve.expected_scatter,
        "chi2": curve.chi2,
        "is_candidate": curve.is_candidate,
        **curve.statistics,
    }


def _most_variable_first(row: dict[str, Any]) -> tuple[bool, float, float, float]:
    """Of equals, the one lower in the field: the same order on every database."""
    return not row["is_candidate"], row["false_alarm"] or 0.0, row["y"], row["x"]


def _row_medians(values: np.ndarray) -> np.ndarray:
    out = np.full(len(values), np.nan)
    seen = np.isfinite(values).any(axis=1)
    out[seen] = np.nanmedian(values[seen], axis=1)
    return out


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
