"""Uploads over HTTP: leave is asked for, then the bytes come into a place of their own.

Every upload has a ticket, a row that says what was asked for, and a key in the inbox of the
archive's store, ``inbox/<ticket>/<file name>``. The bytes come through the API or straight into
the bucket; either way the key tells the ticket, and the ticket the rest.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, BinaryIO, Protocol, cast

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, UserError
from firstlight.formats.base_filename import Collection, FileName, parse_name
from firstlight.models.arrival import Arrival, ArrivalState, Origin
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.upload_ticket import UploadTicket
from firstlight.services.access import Viewer
from firstlight.services.intake.announcement import Announcement
from firstlight.services.intake.arrivals import arrival_id
from firstlight.services.intake.header_cards import checked_cards
from firstlight.services.intake.source_settings import UploadSettings
from firstlight.storage import (
    KeyTaken,
    LinkExpired,
    Store,
    StoredEntry,
    build_key,
    safe_segment,
)
from firstlight.storage.links import UploadSigner
from firstlight.storage.presigned_post import UploadForms

__all__ = [
    "INBOX",
    "PLAIN",
    "Channels",
    "UploadBadChannel",
    "UploadBadDirectory",
    "UploadBadName",
    "UploadEmpty",
    "UploadRequest",
    "UploadService",
    "UploadTooLarge",
    "UploadTruncated",
    "UploadUsed",
]

INBOX = "inbox"
PLAIN = "plain"
"""The directory of files that are not named as Photon Ranch does."""

_PLAIN_ENDS = (
    *(".fits", ".fit", ".fts", ".fits.fz", ".fit.fz", ".fz"),
    *(".fits.gz", ".fit.gz", ".fits.bz2", ".cr2"),
)
_STORE = "store:"
_CHANNELS = (1, 2, 3)
_LONGEST_NAME = 200
_AT_ONCE = 500  # tickets asked for in one query
_REPLACED_WITHIN = timedelta(minutes=15)  # a form posted just in time may take so long to arrive


class UploadBadDirectory(UserError):
    """There is no such directory to upload to."""

    code = "upload.directory"


class UploadBadChannel(UserError):
    """There is no such channel."""

    code = "upload.channel"


class UploadBadName(UserError):
    """No file of this name can be uploaded."""

    code = "upload.name"


class UploadTooLarge(UserError):
    """The file is larger than allowed."""

    code = "upload.too_large"


class UploadTruncated(UserError):
    """The upload ended too early."""

    code = "upload.truncated"


class UploadEmpty(UserError):
    """The file has no bytes."""

    code = "upload.empty"


class UploadUsed(ConflictError):
    """Other bytes came with this ticket before."""

    code = "upload.used"


class UploadRequest(BaseModel):
    """What is asked for. The names of the fields are Photon Ranch's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    object_name: str = Field(description="File name: sro-kb001ms-20220629-00010442-EX10.jpg")
    s3_directory: str = Field(default="data", description="data, info-images, allsky, or plain.")
    info_channel: int = Field(default=1, description="Of an info image, 1 to 3.")
    metadata: dict[str, Any] | list[Any] | None = Field(
        default=None, description="The file's header, ahead of it."
    )
    site: str | None = Field(default=None, max_length=128, description="Of a plain file.")
    max_size: int | None = Field(default=None, ge=1, description="Largest size in bytes.")


class Channels(Protocol):
    """Info images, whose channel is named when leave to upload is asked for."""

    def announce(
        self, session: Session, site: str, channel: int, base_filename: str, now: datetime
    ) -> object:
        """Note the channel of a picture that will come."""
        ...


class UploadService:
    """Gives leave to upload and takes the bytes.

    Parameters
    ----------
    database, store
        Rows and bytes.
    forms
        Makes what the sender posts.
    signer
        Checks the tokens of uploads through the API; None where all go straight to a bucket.
    channels
        Told of info images to come.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: Store,
        forms: UploadForms,
        signer: UploadSigner | None,
        channels: Channels,
        settings: UploadSettings | None = None,
    ) -> None:
        self._database = database
        self._store = store
        self._forms = forms
        self._signer = signer
        self._channels = channels
        self._settings = settings or UploadSettings()

    def request(
        self, wish: UploadRequest, viewer: Viewer, now: datetime | None = None
    ) -> dict[str, object]:
        """Give leave to upload one file.

        Returns
        -------
        dict
            ``{"url": ..., "fields": {"key": ..., ...}}``: the sender posts a form of these
            fields, and last the field ``file``, to the address.

        Raises
        ------
        UploadBadDirectory, UploadBadChannel, UploadBadName, BadBaseFilename, BadCards
            The wish cannot be granted to anyone.
        NotSignedIn, Forbidden
            It cannot be granted to this viewer at the site that the name tells.
        """
        now = now or utc_now()
        known = _named(wish)
        site = known.site if known else wish.site
        viewer.require_delivery(site)
        channel = _channel(wish, known)
        cards = None if wish.metadata is None else checked_cards(wish.metadata)
        ticket_id = uuid.uuid4()
        file_name = known.filename if known else safe_segment(wish.object_name)
        lifetime = timedelta(seconds=self._settings.ticket_s)
        ticket = UploadTicket(
            id=ticket_id,
            key=build_key(INBOX, ticket_id.hex, file_name),
            name=str(known) if known else wish.object_name,
            site=site,
            channel=channel,
            cards=None if cards is None else [list(card) for card in cards],
            max_size=self._limit(wish),
            created_at=now,
            expires_at=now + lifetime,
        )
        form = self._forms.sign(ticket.key, max_size=ticket.max_size, expires=lifetime)
        with self._database.begin() as session:
            session.add(ticket)
            if known is not None and channel is not None:
                self._channels.announce(session, known.site, channel, known.base_filename, now)
        return form.as_dict()

    def receive(self, token: str, stream: BinaryIO, *, length: int | None = None) -> Announcement:
        """Take the bytes of one upload into the inbox.

        They are read once, in pieces, and never held in memory. The same bytes may come again.

        Parameters
        ----------
        token
            The last part of the address of the form.
        length
            Bytes that the sender said would come, where it did.

        Returns
        -------
        Announcement
            To be announced before the sender is told of success.

        Raises
        ------
        LinkForged, LinkExpired
            The token was not given by this archive, or its time is over.
        UploadTooLarge, UploadTruncated, UploadEmpty
            The size is not right. Nothing was stored, as after any error of the stream.
        UploadUsed
            Other bytes came with this ticket before; they stay.
        """
        if self._signer is None:
            raise LinkExpired("uploads go straight to the bucket")
        claim = self._signer.verify(token)
        told = self._announcements([claim.key])
        if not told:
            raise LinkExpired("there is no such ticket any more", subject=claim.key)
        body = cast("BinaryIO", _Bounded(stream, claim.key, claim.max_size, length))
        try:
            stored = self._store.put(claim.key, body)
        except KeyTaken as fault:
            raise UploadUsed(subject=claim.key, hint="ask for leave to upload once more") from fault
        version = self._store.stat(claim.key).version
        return told[claim.key](version, stored.size)

    def announcements(self, arrived: Iterable[tuple[str, str, int | None]]) -> list[Announcement]:
        """Tell what has come into the inbox, as its tickets say.

        What has no ticket, because it is long gone or the bytes came by another way, is told of
        by its file name alone.

        Parameters
        ----------
        arrived
            Key in the store, version and size of each.
        """
        files = [each for each in arrived if each[0].startswith(INBOX + "/")]
        found: list[Announcement] = []
        for start in range(0, len(files), _AT_ONCE):
            some = files[start : start + _AT_ONCE]
            told = self._announcements([key for key, _, _ in some])
            found += [
                told.get(key, _without_ticket(key))(version, size) for key, version, size in some
            ]
        return found

    def tidy(self, now: datetime | None = None) -> int:
        """Remove from the inbox what the archive has taken elsewhere; return how many files.

        What was not taken yet stays, and so does all that its sender might still replace: a
        form for a bucket can be posted again until its time is over. What came through the API
        cannot be replaced; its ticket goes with it.
        """
        removed = 0
        for some in _in_groups(self._store.list(INBOX)):
            final = self._that_stay_as_they_are(some, now or utc_now())
            rows = {
                arrival_id(told): told.source.removeprefix(_STORE)
                for told in self.announcements(final)
            }
            taken = self._taken_elsewhere(rows)
            if self._signer is not None:
                with self._database.begin() as session:
                    session.execute(delete(UploadTicket).where(UploadTicket.key.in_(taken)))
            for key in taken:
                self._store.delete(key)
            removed += len(taken)
        return removed

    def _that_stay_as_they_are(
        self, entries: Sequence[StoredEntry], now: datetime
    ) -> list[tuple[str, str, int | None]]:
        """Leave out what its sender may still replace."""
        query = select(UploadTicket.key).where(
            UploadTicket.key.in_([each.key for each in entries]),
            UploadTicket.expires_at > now - _REPLACED_WITHIN,
        )
        open_keys: set[str] = set()
        if self._signer is None:
            with self._database.reading() as session:
                open_keys = set(session.scalars(query))
        return [
            (each.key, each.version, each.size) for each in entries if each.key not in open_keys
        ]

    def _taken_elsewhere(self, keys: Mapping[uuid.UUID, str]) -> list[str]:
        """Of keys by the ids of their arrivals, those that are done with."""
        query = select(Arrival.id, Arrival.key).where(
            Arrival.id.in_(keys), Arrival.state != ArrivalState.RECEIVED
        )
        with self._database.reading() as session:
            return [keys[row] for row, key in session.execute(query) if key != keys[row]]

    def _limit(self, wish: UploadRequest) -> int:
        largest = int(self._settings.max_size_mb * (1 << 20))
        if wish.max_size is not None and wish.max_size > largest:
            raise UploadTooLarge(
                subject=wish.object_name,
                field="max_size",
                found=wish.max_size,
                expected=f"at most {largest} bytes",
            )
        return wish.max_size or largest

    def _announcements(self, keys: Sequence[str]) -> dict[str, _Telling]:
        with self._database.reading() as session:
            rows = session.scalars(select(UploadTicket).where(UploadTicket.key.in_(keys))).all()
            return {
                row.key: _Telling(
                    key=row.key,
                    name=row.name,
                    site=row.site,
                    channel=row.channel,
                    cards=row.cards,
                )
                for row in rows
            }


@dataclass(frozen=True, slots=True)
class _Telling:
    """All of an announcement but what only the stored file can tell."""

    key: str
    name: str
    site: str | None = None
    channel: int | None = None
    cards: Sequence[Any] | None = None

    def __call__(self, version: str, size: int | None) -> Announcement:
        return Announcement(
            origin=Origin.UPLOAD,
            source=_STORE + self.key,
            name=self.name,
            # Listings quote what events do not; the two must tell of one version.
            version=version.strip('"'),
            size=size,
            site=self.site,
            channel=self.channel,
            metadata=None if self.cards is None else tuple((k, v, c) for k, v, c in self.cards),
        )


def _in_groups(entries: Iterable[StoredEntry]) -> Iterator[list[StoredEntry]]:
    rest = iter(entries)
    while some := list(islice(rest, _AT_ONCE)):
        yield some


def _without_ticket(key: str) -> _Telling:
    return _Telling(key=key, name=key.rpartition("/")[2])


def _named(wish: UploadRequest) -> FileName | None:
    """Parse the name wished for; None for a plain file.

    Raises
    ------
    UploadBadDirectory, UploadBadName, BadBaseFilename
        It cannot be uploaded.
    """
    if wish.s3_directory in set(Collection):
        return parse_name(f"{wish.s3_directory}/{wish.object_name}")
    if wish.s3_directory != PLAIN:
        raise UploadBadDirectory(
            field="s3_directory",
            found=ascii(wish.s3_directory)[:40],
            expected=", ".join([*Collection, PLAIN]),
        )
    name = wish.object_name
    if (
        not name.lower().endswith(_PLAIN_ENDS)
        or len(name) > _LONGEST_NAME
        or name != safe_segment(name)
    ):
        raise UploadBadName(
            subject=ascii(name)[:80],
            field="object_name",
            expected="a file name that ends in " + ", ".join(_PLAIN_ENDS),
        )
    return None


def _channel(wish: UploadRequest, known: FileName | None) -> int | None:
    """Return the channel of an info image; other files have none, but a wrong one is refused."""
    if wish.info_channel not in _CHANNELS:
        raise UploadBadChannel(field="info_channel", found=wish.info_channel, expected="1, 2 or 3")
    if known is None or known.collection is not Collection.INFO_IMAGES:
        return None
    return wish.info_channel


class _Bounded:
    """A stream that fails where it is too long, too short, or empty."""

    def __init__(self, stream: BinaryIO, key: str, largest: int, length: int | None) -> None:
        self._stream = stream
        self._key = key
        self._largest = largest
        self._length = length
        self._count = 0
        if length is not None and length > largest:
            raise self._too_large(length)

    def read(self, size: int = -1) -> bytes:
        """Read what is there, at most `size` bytes and one more than is allowed."""
        room = self._largest + 1 - self._count
        piece = self._stream.read(room if size < 0 else min(size, room))
        self._count += len(piece)
        if self._count > self._largest:
            raise self._too_large(f"more than {self._largest}")
        if not piece:
            self._check_end()
        return piece

    def _check_end(self) -> None:
        if self._length is not None and self._count != self._length:
            raise UploadTruncated(
                subject=self._key, found=f"{self._count} bytes", expected=f"{self._length} bytes"
            )
        if self._count == 0:
            raise UploadEmpty(subject=self._key)

    def _too_large(self, found: object) -> UploadTooLarge:
        return UploadTooLarge(
            subject=self._key, found=f"{found} bytes", expected=f"at most {self._largest} bytes"
        )
