"""What programs may ask of the portal itself: its vocabulary, and how much it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select, text

from firstlight.models.account import Group, User
from firstlight.models.base import Base
from firstlight.models.database import Database
from firstlight.models.instrument_record import InstrumentRecord, Telescope
from firstlight.models.notes import Annotation, Comment, Thumbnail
from firstlight.models.object import Object, SavedObject
from firstlight.models.photometry import Photometry
from firstlight.models.spectrum import Spectrum
from firstlight.models.token import Token
from firstlight.services.access import Viewer
from firstlight.services.objects.bandpasses import Bandpasses
from firstlight.services.visibility import seen_by

__all__ = ["PortalFacts"]

_SPECTRUM_TYPES = ["source", "host", "host_center"]
_THUMBNAIL_TYPES = [
    "new", "ref", "sub", "sdss", "dr8", "ls", "ps1", "sm", "hst", "chandra", "jwst", "new_gz",
    "ref_gz", "sub_gz",
]  # fmt: skip
_COUNTED: dict[str, type[Base]] = {
    "Number of photometry (approx)": Photometry,
    "Number of sources": SavedObject,
    "Number of objs": Object,
    "Number of spectra": Spectrum,
    "Number of groups": Group,
    "Number of users": User,
    "Number of tokens": Token,
    "Number of telescopes": Telescope,
    "Number of instruments": InstrumentRecord,
    "Number of comments": Comment,
    "Number of annotations": Annotation,
    "Number of thumbnails": Thumbnail,
}
_MOST_NOTES = 1_000


class PortalFacts:
    """Tells of the portal.

    Parameters
    ----------
    database
        The tables.
    filters
        Filters of the settings besides those that everybody knows.
    public_group
        Name of the group that everybody with an account is in.
    words
        Words that fields of analysis services may have.
    """

    def __init__(
        self,
        *,
        database: Database,
        filters: Mapping[str, Any] | None = None,
        public_group: str = "Sitewide Group",
        words: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._database = database
        self._bandpasses = Bandpasses(filters)
        self._public_group = public_group
        self._words = dict(words or {})

    def config(self) -> dict[str, Any]:
        """What clients need to know to draw and to upload."""
        bands = self._bandpasses.describe()
        return {
            "invitationsEnabled": True,
            "allowedSpectrumTypes": _SPECTRUM_TYPES,
            "defaultSpectrumType": _SPECTRUM_TYPES[0],
            "publicGroupName": self._public_group,
            "shareDataWithPublicGroupByDefault": False,
            "usePhotometryValidation": True,
            "bandpassesColors": {str(band["name"]): band["colour"] for band in bands},
            "bandpassesWavelengths": {str(band["name"]): band["wavelength"] for band in bands},
            "cosmology": "Planck18",
            "cosmoref": "Planck Collaboration 2018, arXiv:1807.06209",
            "gcnNoticeTypes": [],
            "classificationsClasses": {},
        }

    def vocabulary(self) -> dict[str, Any]:
        """Words that fields may have."""
        return {
            "ALLOWED_SPECTRUM_TYPES": _SPECTRUM_TYPES,
            "ALLOWED_MAGSYSTEMS": ["ab", "vega"],
            "ALLOWED_BANDPASSES": sorted(self._bandpasses),
            "THUMBNAIL_TYPES": _THUMBNAIL_TYPES,
            "FOLLOWUP_PRIORITIES": ["1", "2", "3", "4", "5"],
            "ALLOWED_API_CLASSNAMES": [],
            "ANALYSIS_TYPES": [],
            "ANALYSIS_INPUT_TYPES": [],
            "AUTHENTICATION_TYPES": ["none"],
            **self._words,
        }

    def database(self, viewer: Viewer) -> dict[str, Any]:
        """Which database it is, and whether there are any sources."""
        viewer.require_named()
        with self._database.reading() as session:
            empty = session.scalar(select(SavedObject.id).limit(1)) is None
            version = None
            if not self._database.is_sqlite:
                version = session.scalar(text("SHOW server_version"))
        return {"source_table_empty": empty, "postgres_version": version}

    def counts(self, viewer: Viewer) -> dict[str, Any]:
        """Rows of the tables, whoever may see them."""
        viewer.require("admin")
        with self._database.reading() as session:
            counts = {
                name: session.scalar(select(func.count()).select_from(table)) or 0
                for name, table in _COUNTED.items()
            }
        none = ("candidates", "source views", "filters", "GCN events")
        others = {f"Number of {name}": 0 for name in none}
        return {**counts, **others, "Latest cron job run times & statuses": []}

    def annotations(self, viewer: Viewer) -> dict[str, Any]:
        """Keys of annotations and the kinds of their values, by origin; of the newest ones."""
        viewer.require_named()
        with self._database.reading() as session:
            rows = session.execute(
                select(Annotation.origin, Annotation.data)
                .where(seen_by(viewer, Annotation.audience_id))
                .order_by(Annotation.id.desc())
                .limit(_MOST_NOTES)
            ).all()
        found: dict[str, dict[str, str]] = {}
        for origin, data in rows:
            kinds = found.setdefault(origin, {})
            for key, value in data.items():
                kinds.setdefault(key, _kind(value))
        return {
            origin: [{key: kind} for key, kind in sorted(kinds.items())]
            for origin, kinds in sorted(found.items())
        }

    def altdata(self, viewer: Viewer) -> dict[str, Any]:
        """Keys of what programs keep beside objects, and the kinds of their values."""
        viewer.require_named()
        with self._database.reading() as session:
            rows = session.scalars(
                select(Object.details)
                .where(seen_by(viewer, Object.audience_id))
                .order_by(Object.created_at.desc(), Object.id.desc())
                .limit(_MOST_NOTES)
            ).all()
        kinds: dict[str, str] = {}
        for details in rows:
            for key, value in (details.get("altdata") or {}).items():
                kinds.setdefault(key, _kind(value))
        return {"keys": [{key: kind} for key, kind in sorted(kinds.items())]}


def _kind(value: Any) -> str:
    """As JSON calls it."""
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}
    if value is None:
        return "null"
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), "object")
