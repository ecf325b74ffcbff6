"""A measurement that its user has accepted, as a point of the object's light curve."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from firstlight.algorithms.photometry.magnitudes import ab_offset
from firstlight.algorithms.photometry.photometric_systems import error_at_limit, flux_of_magnitude
from firstlight.models.image_analysis import ImageAnalysis
from firstlight.models.instrument_record import instrument_number
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.provenance.fingerprint import product_id
from firstlight.services.objects.object_summary import summarise
from firstlight.services.objects.sharing import tell

__all__ = ["ORIGIN", "AcceptedPhotometry"]

ORIGIN = "image_analysis"
LIMIT_SIGMA = 5.0
OffsetOf = Callable[[str | None, str], float | None]


class AcceptedPhotometry:
    """Writes and removes the points of image analyses. Never commits.

    Parameters
    ----------
    offset_of
        AB minus magnitude of a filter in a system; None where nobody knows.
    """

    def __init__(self, offset_of: OffsetOf) -> None:
        self._offset_of = offset_of

    def add(self, session: Session, row: ImageAnalysis, method: str, audience: int) -> uuid.UUID:
        """Write the point, bring the object's summary up to date, and tell the watchers.

        Returns
        -------
        UUID
            Its key, which is the same however often it is written.
        """
        preview: dict[str, Any] = (row.result or {})["preview"]
        key = product_id("image_analysis.point", [row.id])
        point = self._point(session, preview, method)
        session.add(
            Photometry(
                key=key,
                object_id=row.object_id,
                image_analysis_id=row.id,
                provenance_id=row.provenance_id,
                owner_id=row.owner_id,
                audience_id=audience,
                origin=ORIGIN,
                **point,
            )
        )
        session.flush()
        self._changed(session, row, audience)
        return key

    def remove(self, session: Session, row: ImageAnalysis) -> None:
        """Take the point back; one that is gone already is no error."""
        audience = session.scalar(
            select(Photometry.audience_id).where(Photometry.key == row.photometry_key)
        )
        session.execute(delete(Photometry).where(Photometry.key == row.photometry_key))
        if audience is not None:
            self._changed(session, row, audience)

    def _changed(self, session: Session, row: ImageAnalysis, audience: int) -> None:
        summarise(session, [row.object_id])
        name = session.get_one(Object, row.object_id).name
        tell(session, name, "photometry", audience, {"image_analysis": row.id})

    def _point(self, session: Session, preview: dict[str, Any], method: str) -> dict[str, Any]:
        """Columns of the measurement: magnitude as measured, flux and limit in AB.

        The filter is the image's own, that of the camera's other points; what the magnitude is
        tied to is told besides.
        """
        measured = preview["methods"][method]
        # Previews of former versions tell one name for both.
        band, system = preview.get("band") or preview["filter"], preview["system"]
        offset = self._offset(band, system)
        limit = measured["limit"]
        flux, flux_err = measured["flux_ujy"], measured["flux_ujy_err"]
        if flux is None and offset is not None and measured["magnitude"] is not None:
            flux, flux_err = map(
                float, flux_of_magnitude(measured["magnitude"], measured["magnitude_err"], offset)
            )
        elif flux is None and offset is not None and limit is not None:
            flux_err = float(error_at_limit(limit, LIMIT_SIGMA, offset))
        in_ab = None if limit is None or offset is None else limit + offset
        instrument = preview["instrument"]
        return {
            "instrument_id": None if instrument is None else instrument_number(session, instrument),
            "mjd": preview["mjd"],
            "filter": preview["filter"],
            "flux_ujy": flux,
            "flux_err_ujy": flux_err,
            "mag": measured["magnitude"],
            "mag_err": measured["magnitude_err"],
            "mag_system": system,
            "limiting_mag": in_ab,
            "limit_sigma": None if in_ab is None else LIMIT_SIGMA,
            "ra": preview["ra"],
            "dec": preview["dec"],
            "x": preview["x"],
            "y": preview["y"],
            "altdata": {
                "method": method,
                "image_filter": preview["image_filter"],
                "section": preview.get("section"),
                "catalog": preview["catalog"],
                "catalog_band": band,
                "zero_point": measured["zero_point"],
                "colour_term": measured["colour_term"],
                "flags": preview["flags"],
            },
        }

    def _offset(self, band: str | None, system: str) -> float | None:
        if system == "AB":
            return 0.0
        tabulated = ab_offset(band or "", system)
        return tabulated or self._offset_of(band, system)
