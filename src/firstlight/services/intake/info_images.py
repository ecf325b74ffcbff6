"""Info images: temporary pictures on the three channels of a site.

A channel shows the picture that was requested last and has a file. So the old one stays until
the first file of the new one is there, and files may come in any order: one of a picture that
was requested earlier than the one shown comes too late, whenever it comes.

A picture that was replaced leaves its row behind, without files, until its time is over. By it
a late file is known for what it is.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, and_, delete, or_, select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput
from firstlight.formats.base_filename import FileName, Role
from firstlight.models.database import Database
from firstlight.models.info_image import CHANNELS, InfoImage, InfoImageFile
from firstlight.services.expiry.expiration_rules import INFO_IMAGES, ExpirationRules
from firstlight.services.expiry.leftovers import remember
from firstlight.services.transaction_locks import lock_names
from firstlight.storage import StoredFile

__all__ = ["InfoHeader", "InfoImageService", "LinkMaker"]

LinkMaker: TypeAlias = Callable[[str], str]
"""Makes the address of the file under a key."""


@dataclass(frozen=True, slots=True)
class InfoHeader:
    """A header that came with a file.

    Parameters
    ----------
    rank
        Of two headers the one of lower rank counts, whichever comes last.
    cards
        Triples of keyword, value, comment; values are JSON.
    """

    rank: int
    cards: Sequence[Sequence[Any]]


class InfoImageService:
    """Puts pictures on channels and tells what they show.

    Parameters
    ----------
    database
        Where the rows are.
    rules
        When pictures expire.
    """

    def __init__(self, *, database: Database, rules: ExpirationRules) -> None:
        self._database = database
        self._rules = rules

    def request(self, site: str, channel: int, base_filename: str, now: datetime) -> InfoImage:
        """Name the channel of a picture whose upload was asked for.

        Asking for the channel's picture again, for another of its files, changes nothing. One
        that was replaced meanwhile is asked for anew.

        Raises
        ------
        InvalidInput
            There is no such channel.
        """
        with self._database.begin() as session:
            return self.announce(session, site, channel, base_filename, now)

    def announce(
        self, session: Session, site: str, channel: int, base_filename: str, now: datetime
    ) -> InfoImage:
        """Do what `request` does, in the caller's transaction."""
        _check_channel(channel)
        _lock(session, site, channel)
        image = _find(session, site, channel, base_filename)
        if image is None:
            return self._add(session, site, channel, base_filename, now)
        if _newer(session, image) is not None:
            image.requested_at = now
            image.expires_at = self._expires_at(image, now)
        return image

    def take(
        self,
        session: Session,
        name: FileName,
        stored: StoredFile,
        *,
        now: datetime,
        channel: int | None = None,
        header: InfoHeader | None = None,
        made: bool = False,
    ) -> InfoImage | None:
        """Take one stored file, in the caller's transaction.

        Parameters
        ----------
        name, stored
            What it is called, and where its bytes are.
        channel
            As named when the upload was requested; None where the file says nothing of it,
            then the request for its base filename does. A picture that nobody announced, as
            one put into a watched folder, goes to the first channel.
        header
            The one in the file, or that came with the request.
        made
            Whether firstlight made the file.

        Returns
        -------
        InfoImage or None
            The picture it belongs to; None where a newer one is on the channel. Then the stored
            bytes are noted for removal.
        """
        asked_at = now
        if channel is None:
            channel = _channel_of(session, name)
        if channel is None:
            # In the order of the names among themselves, whatever order they come in, and
            # after every picture for which the channel was asked.
            channel, asked_at = CHANNELS[0], _moment_of(name)
        _check_channel(channel)
        _lock(session, name.site, channel)
        image = _find(session, name.site, channel, name.base_filename)
        if image is None:
            image = self._add(session, name.site, channel, name.base_filename, now)
            image.requested_at = asked_at
            session.flush()
        if _newer(session, image) is not None:
            remember(session, {stored.key: stored.size}, now)
            return None
        image.data_type = image.data_type or name.data_type
        _put_file(session, image, name, stored, made=made, now=now)
        _put_header(image, header)
        if image.shown_at is None:
            image.shown_at = now
            image.expires_at = self._expires_at(image, now)
            session.flush()
            _replace_older(session, image, now)
        session.flush()
        return image

    def show(
        self, site: str, channel: int, link: LinkMaker, now: datetime
    ) -> dict[str, Any] | None:
        """What a channel shows, as JSON; None where it shows nothing."""
        return next(
            (each for each in self.all_of(site, link, now) if each["channel"] == channel), None
        )

    def all_of(self, site: str, link: LinkMaker, now: datetime) -> list[dict[str, Any]]:
        """What all channels of a site show, in their order; empty ones are left out."""
        query = (
            select(InfoImage)
            .where(InfoImage.site == site, InfoImage.shown_at.is_not(None), _valid(now))
            .order_by(InfoImage.channel, InfoImage.requested_at.desc(), InfoImage.id.desc())
        )
        with self._database.reading() as session:
            shown: dict[int, InfoImage] = {}
            for image in session.scalars(query):
                shown.setdefault(image.channel, image)
            ids = [image.id for image in shown.values()]
            files = session.scalars(
                select(InfoImageFile)
                .where(InfoImageFile.info_image_id.in_(ids))
                .order_by(InfoImageFile.name)
            ).all()
        return [
            _package(image, [file for file in files if file.info_image_id == image.id], link)
            for image in shown.values()
        ]

    def _add(
        self, session: Session, site: str, channel: int, base_filename: str, now: datetime
    ) -> InfoImage:
        image = InfoImage(
            site=site,
            channel=channel,
            base_filename=base_filename,
            requested_at=now,
            created_at=now,
        )
        image.identify()
        image.expires_at = self._expires_at(image, now)
        session.add(image)
        session.flush()
        return image

    def _expires_at(self, image: InfoImage, start: datetime) -> datetime | None:
        return self._rules.expires_at(
            data_type=image.data_type,
            site=image.site,
            collection=INFO_IMAGES,
            name=image.base_filename,
            arrived=start,
        )


def _check_channel(channel: int) -> None:
    if channel not in CHANNELS:
        raise InvalidInput(
            "there is no such channel", field="channel", found=channel, expected="1, 2 or 3"
        )


def _lock(session: Session, site: str, channel: int) -> None:
    lock_names(session, f"info image {site} {channel}")


def _find(session: Session, site: str, channel: int, base_filename: str) -> InfoImage | None:
    return session.scalar(
        select(InfoImage)
        .where(
            InfoImage.site == site,
            InfoImage.channel == channel,
            InfoImage.base_filename == base_filename,
        )
        .execution_options(populate_existing=True)  # as it is under the lock
    )


def _moment_of(name: FileName) -> datetime:
    """A moment that orders names by their day and number."""
    return datetime.combine(name.day, time(), UTC) + timedelta(microseconds=int(name.number))


def _channel_of(session: Session, name: FileName) -> int | None:
    """The channel for which a base filename was requested last."""
    return session.scalar(
        select(InfoImage.channel)
        .where(InfoImage.site == name.site, InfoImage.base_filename == name.base_filename)
        .order_by(InfoImage.requested_at.desc(), InfoImage.id.desc())
        .limit(1)
    )


def _valid(now: datetime) -> ColumnElement[bool]:
    return or_(InfoImage.expires_at.is_(None), InfoImage.expires_at > now)


def _on_channel_of(image: InfoImage) -> ColumnElement[bool]:
    return and_(InfoImage.site == image.site, InfoImage.channel == image.channel)


def _newer(session: Session, image: InfoImage) -> uuid.UUID | None:
    """A picture on the same channel that was requested later and has come."""
    later = or_(
        InfoImage.requested_at > image.requested_at,
        and_(InfoImage.requested_at == image.requested_at, InfoImage.id > image.id),
    )
    return session.scalar(
        select(InfoImage.id)
        .where(_on_channel_of(image), later, InfoImage.shown_at.is_not(None))
        .limit(1)
    )


def _put_file(
    session: Session,
    image: InfoImage,
    name: FileName,
    stored: StoredFile,
    *,
    made: bool,
    now: datetime,
) -> None:
    """Add the file's row. Other bytes under the same name replace the old ones."""
    file = InfoImageFile(
        info_image_id=image.id,
        name=name.filename,
        role=name.role.value,
        reduction_level=name.reduction_level,
        key=stored.key,
        size=stored.size,
        sha256=stored.sha256,
        md5=stored.md5,
        made=made,
    )
    file.identify()
    known = session.get(InfoImageFile, file.id)
    if known is not None and known.key != file.key:
        remember(session, {known.key: known.size}, now)
    if known is None or known.sha256 != file.sha256 or known.key != file.key:
        session.merge(file)


def _put_header(image: InfoImage, header: InfoHeader | None) -> None:
    """Keep the header that counts; of equal ranks one that does not depend on the order."""
    if header is None:
        return
    cards = [list(card) for card in header.cards]
    if image.header is not None and image.header_rank is not None:
        present = (image.header_rank, json.dumps(image.header))
        if present <= (header.rank, json.dumps(cards)):
            return
    image.header, image.header_rank = cards, header.rank


def _replace_older(session: Session, image: InfoImage, now: datetime) -> None:
    """Take the files of all that were shown on the channel before; their rows stay as marks."""
    older = session.scalars(
        select(InfoImage).where(
            _on_channel_of(image), InfoImage.id != image.id, InfoImage.shown_at.is_not(None)
        )
    ).all()
    ids = [each.id for each in older]
    files = session.scalars(select(InfoImageFile).where(InfoImageFile.info_image_id.in_(ids))).all()
    remember(session, {file.key: file.size for file in files}, now)
    session.execute(delete(InfoImageFile).where(InfoImageFile.info_image_id.in_(ids)))
    for each in older:
        each.shown_at, each.header, each.header_rank = None, None, None


_ROLES = {
    "jpg_medium": Role.JPG_MEDIUM,
    "jpg_small": Role.THUMBNAIL,
    "fits_01": Role.FITS_LARGE,
    "fits_10": Role.FITS_SMALL,
}
_URLS = {"jpg_medium": "jpg_url"}


def _package(image: InfoImage, files: Sequence[InfoImageFile], link: LinkMaker) -> dict[str, Any]:
    """The JSON of Photon Ranch, and the list of all files. Absent files have no address."""
    by_role: dict[str, InfoImageFile] = {}
    for file in files:
        by_role.setdefault(file.role, file)
    parts = image.base_filename.split("-")
    package: dict[str, Any] = {
        "site": image.site,
        "channel": image.channel,
        "base_filename": image.base_filename,
        "data_type": image.data_type,
        "file_date": parts[2] if len(parts) == 4 else None,
        "s3_directory": INFO_IMAGES,
        "expiration_timestamp": None
        if image.expires_at is None
        else int(image.expires_at.timestamp()),
        "header": {card[0]: card[1] for card in image.header or ()},
        "files": [{"name": file.name, "size": file.size, "url": link(file.key)} for file in files],
    }
    for kind, role in _ROLES.items():
        found = by_role.get(role.value)
        package[f"{kind}_exists"] = found is not None
        if found is not None:
            package[_URLS.get(kind, f"{kind}_url")] = link(found.key)
    return package
