"""Pinning pictures to a channel by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from firstlight.errors import FirstlightError, InvalidInput
from firstlight.formats.base_filename import BadBaseFilename, Collection, FileName, parse_name
from firstlight.models.arrival import Arrival, ArrivalState, Origin
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.services.intake.announcement import Announcement
from firstlight.services.intake.arrival_sources import source_of_path, version_of_path
from firstlight.services.intake.arrivals import ArrivalService, arrival_id
from firstlight.services.intake.info_images import InfoImageService

__all__ = ["InfoImagePut", "PutReport"]

# What a file is to the picture, by the end of its name.
_ENDS = {
    ".jpg": "EX10.jpg",
    ".jpeg": "EX10.jpg",
    ".txt": "EX00.txt",
    ".fits": "EX00.fits",
    ".fits.fz": "EX00.fits.fz",
    ".fits.bz2": "EX00.fits.bz2",
}


@dataclass(frozen=True)
class PutReport:
    """What became of the files.

    Attributes
    ----------
    base_filename
        What the picture is called.
    shown
        Names of the files that are shown.
    refused
        ``name`` and ``error`` of those that cannot be.
    """

    site: str
    channel: int
    base_filename: str
    shown: list[str]
    refused: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return vars(self)


class InfoImagePut:
    """Takes files for a channel in this process.

    Parameters
    ----------
    database
        Where the upload log is.
    """

    def __init__(
        self, *, database: Database, arrivals: ArrivalService, info_images: InfoImageService
    ) -> None:
        self._database = database
        self._arrivals = arrivals
        self._info_images = info_images

    def put(
        self, paths: Sequence[Path], site: str, channel: int, now: datetime | None = None
    ) -> PutReport:
        """Show one picture on a channel, which may have a FITS file and a header beside it.

        Parameters
        ----------
        paths
            Files named as Photon Ranch does keep their names; others get one of this moment.

        Raises
        ------
        InvalidInput
            The files belong to several pictures or another site, or are of no known kind.
        """
        now = now or utc_now()
        names = [_name(path, site, now) for path in paths]
        bases = {name.base_filename for name in names}
        if len(bases) != 1 or any(name.site != site for name in names):
            raise InvalidInput(
                field="paths",
                found=", ".join(sorted(bases)) or "nothing",
                expected=f"files of one picture of {site}",
            )
        base = bases.pop()
        self._info_images.request(site, channel, base, now)
        told = [
            Announcement(
                origin=Origin.INGEST,
                source=source_of_path(path),
                name=str(name),
                version=f"{version_of_path(path)} {base} {channel}",
                site=site,
                channel=channel,
            )
            for path, name in zip(paths, names, strict=True)
        ]
        self._arrivals.announce(told)
        ids = {arrival_id(each): each for each in told}
        self._arrivals.take(list(ids), again=True)
        with self._database.reading() as session:
            rows = session.scalars(select(Arrival).where(Arrival.id.in_(ids))).all()
        refused = [row for row in rows if row.state == ArrivalState.QUARANTINED]
        return PutReport(
            site=site,
            channel=channel,
            base_filename=base,
            shown=[ids[row.id].name for row in rows if row not in refused],
            refused=[{"name": ids[row.id].source, "error": row.error or {}} for row in refused],
        )


def _name(path: Path, site: str, now: datetime) -> FileName:
    try:
        return parse_name(f"{Collection.INFO_IMAGES.value}/{path.name}")
    except BadBaseFilename:
        pass
    lower = path.name.lower()
    end = next((end for end in sorted(_ENDS, key=len, reverse=True) if lower.endswith(end)), None)
    if end is None:
        raise InvalidInput(
            "no picture for a channel", subject=path, expected=f"one of {', '.join(_ENDS)}"
        )
    number = f"{now:%H%M%S}{now.microsecond // 10_000:02d}"
    made = f"{Collection.INFO_IMAGES.value}/{site}-info-{now:%Y%m%d}-{number}-{_ENDS[end]}"
    try:
        return parse_name(made)
    except FirstlightError as fault:
        raise InvalidInput(field="site", found=site, expected="3 to 6 letters or digits") from fault
