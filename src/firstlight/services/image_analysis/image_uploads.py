"""Images that users upload for analysis: bytes into the store, and what their headers tell."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput, MissingError, UserError
from firstlight.models.account import Group, Membership
from firstlight.models.audience import audience_of
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.image_analysis import AnalysisState, ImageAnalysis, UploadedImage
from firstlight.services.access import Viewer
from firstlight.services.image_analysis.image_analysis_limits import ImageAnalysisLimits
from firstlight.services.image_analysis.image_facts import image_facts
from firstlight.services.visibility import seen_by
from firstlight.storage import Store, build_key, safe_segment

__all__ = [
    "SUFFIXES",
    "ImageEmpty",
    "ImageTooLarge",
    "ImageUploadMissing",
    "ImageUploadService",
    "own_audience",
]

SUFFIXES = (".fits", ".fit", ".fts", ".fz", ".gz", ".bz2", ".xz")
_LONGEST_NAME = 200
_REMOVED_AT_ONCE = 200


class ImageTooLarge(UserError):
    """The image is larger than this portal takes."""

    code = "image_upload.too_large"


class ImageEmpty(UserError):
    """The image file is empty."""

    code = "image_upload.empty"


class ImageUploadMissing(MissingError):
    """There is no such upload."""

    code = "image_upload.missing"


class ImageUploadService:
    """Takes images, one stream each, and never holds one in memory.

    Parameters
    ----------
    database, store
        Rows and bytes.
    limits
        How large a file may be.
    clock
        Returns the present, aware.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: Store,
        limits: ImageAnalysisLimits | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._store = store
        self.limits = limits or ImageAnalysisLimits()
        self._clock = clock

    def check_size(self, size: int | None, subject: str = "") -> None:
        """Refuse a file, or a request with one, before its bytes are read.

        Parameters
        ----------
        size
            As the sender announces it; None where it does not.

        Raises
        ------
        ImageTooLarge
            It is too long for one file.
        """
        if size is not None and size > self.limits.max_upload_bytes:
            raise _too_large(subject or "the image", size, self.limits.max_upload_bytes)

    def check_count(self, count: int) -> None:
        """Refuse more images than one request may bring.

        Raises
        ------
        InvalidInput
            With how many it may.
        """
        most = self.limits.max_images
        if count > most:
            raise InvalidInput(
                "too many images at once", field="file", found=count, expected=f"at most {most}"
            )

    def check_request(self, size: int | None) -> None:
        """Refuse a form of files by its announced length; see `check_size`."""
        if size is not None and size > self.limits.max_body_bytes:
            raise _too_large("the request", size, self.limits.max_body_bytes)

    def receive(
        self, viewer: Viewer, filename: str, stream: BinaryIO, *, length: int | None = None
    ) -> dict[str, Any]:
        """Take one image.

        Parameters
        ----------
        filename
            As the sender calls it; folders are cut off.
        stream
            Read once, in pieces.
        length
            Bytes that the sender said would come, where it did.

        Returns
        -------
        dict
            The upload with what its header tells; a file that cannot be read is taken, and
            says so in ``facts.error``.

        Raises
        ------
        NotSignedIn, Forbidden
            The viewer may not upload.
        ImageTooLarge, ImageEmpty
            Nothing was kept.
        """
        viewer.require("analyse")
        name = _plain_name(filename)
        self.check_size(length, name)
        number = uuid.uuid4()
        key = build_key("portal", "images", number.hex, safe_segment(name))
        bounded = _Bounded(stream, name, self.limits.max_upload_bytes)
        stored = self._store.put(key, cast("BinaryIO", bounded))
        if stored.size == 0:
            self._store.delete(key)
            raise ImageEmpty(subject=name, hint="choose the file again: no bytes came")
        with self._store.local_path(key) as path:
            facts = image_facts(path, name)
        row = UploadedImage(
            id=number,
            filename=name,
            key=key,
            size=stored.size,
            sha256=stored.sha256,
            facts=facts,
            owner_id=viewer.user_id,
            created_at=self._clock(),
        )
        with self._database.begin() as session:
            row.audience_id = own_audience(session, viewer)
            session.add(row)
        return upload_shape(row)

    def get(self, viewer: Viewer, upload_id: str | uuid.UUID) -> dict[str, Any]:
        """One upload.

        Raises
        ------
        ImageUploadMissing
            There is none of this id, or none that the viewer may see.
        """
        with self._database.reading() as session:
            return upload_shape(uploads_of(session, viewer, [upload_id])[0])

    def sweep(self) -> int:
        """Remove images that nobody needs any more; returns how many."""
        return self.remove_unused() + self.remove_analysed()

    def remove_analysed(self) -> int:
        """Remove the bytes of images that were analysed long ago; returns how many.

        Their rows stay: what was measured tells what it was measured in.
        """
        days = self.limits.keep_analysed_days
        if days is None:
            return 0
        now = self._clock()
        before = now - timedelta(days=days)
        of_it = ImageAnalysis.upload_id == UploadedImage.id
        needed = of_it & or_(
            ImageAnalysis.created_at >= before,
            ImageAnalysis.state.in_((AnalysisState.QUEUED, AnalysisState.RUNNING)),
        )
        query = (
            select(UploadedImage)
            .where(
                UploadedImage.created_at < before,
                UploadedImage.removed_at.is_(None),
                exists().where(of_it),
                ~exists().where(needed),
            )
            .order_by(UploadedImage.created_at)
            .limit(_REMOVED_AT_ONCE)
        )
        with self._database.begin() as session:
            rows = list(session.scalars(query))
            for row in rows:
                row.removed_at = now
            session.flush()
            # Before the commit: where this ends here, the next sweep does it again.
            for row in rows:
                self._store.delete(row.key)
        return len(rows)

    def remove_unused(self) -> int:
        """Remove images that nobody has analysed for long; returns how many."""
        before = self._clock() - timedelta(hours=self.limits.keep_unused_h)
        used = exists().where(ImageAnalysis.upload_id == UploadedImage.id)
        query = (
            select(UploadedImage)
            .where(UploadedImage.created_at < before, UploadedImage.removed_at.is_(None), ~used)
            .limit(_REMOVED_AT_ONCE)
        )
        with self._database.begin() as session:
            # The row goes first: an analysis that starts now finds none, rather than no bytes.
            rows = list(session.scalars(query))
            for row in rows:
                session.delete(row)
        for row in rows:
            self._store.delete(row.key)
        return len(rows)


def uploads_of(
    session: Session, viewer: Viewer, upload_ids: Sequence[str | uuid.UUID]
) -> list[UploadedImage]:
    """Rows of uploads that the viewer may see, in the order asked for.

    Raises
    ------
    ImageUploadMissing
        Names the first that is not there.
    """
    wanted = [_checked_id(each) for each in upload_ids]
    query = select(UploadedImage).where(
        UploadedImage.id.in_(wanted), seen_by(viewer, UploadedImage.audience_id)
    )
    found = {row.id: row for row in session.scalars(query)}
    for number in wanted:
        row = found.get(number)
        if row is None or row.removed_at is not None:
            raise ImageUploadMissing(subject=number, hint="upload the image again")
    return [found[number] for number in wanted]


def upload_shape(row: UploadedImage) -> dict[str, Any]:
    """What is told of an upload."""
    return {
        "id": str(row.id),
        "filename": row.filename,
        "size": row.size,
        "created_at": row.created_at.isoformat(),
        "removed": row.removed_at is not None,
        "facts": row.facts,
    }


def own_audience(session: Session, viewer: Viewer) -> int:
    """The audience of the viewer alone: the group that was made with the account."""
    own = (
        select(Group.id)
        .join(Membership, Membership.group_id == Group.id)
        .where(Membership.user_id == viewer.user_id, Group.single_user_group)
    )
    return audience_of(session, groups=session.scalars(own).all()[:1])


def _checked_id(text: str | uuid.UUID) -> uuid.UUID:
    try:
        return text if isinstance(text, uuid.UUID) else uuid.UUID(text)
    except ValueError as fault:
        raise ImageUploadMissing(subject=str(text)[:80], hint="upload the image again") from fault


def _plain_name(filename: str) -> str:
    last = PurePosixPath(filename.replace("\\", "/")).name
    clean = "".join(c if c.isprintable() else "_" for c in last).strip()
    # The end of a name tells what it is, so the beginning is cut.
    return clean[-_LONGEST_NAME:] or "image.fits"


def _too_large(subject: str, size: int, largest: int) -> ImageTooLarge:
    return ImageTooLarge(
        subject=subject,
        found=f"{size / 1e6:.1f} MB",
        expected=f"at most {largest / 1e6:.1f} MB",
        hint="pack it (fpack, gzip), cut out the field, or ask for a larger "
        "image_analysis.max_upload_bytes",
    )


class _Bounded:
    """A stream that fails where it becomes too long."""

    def __init__(self, stream: BinaryIO, subject: str, largest: int) -> None:
        self._stream = stream
        self._subject = subject
        self._largest = largest
        self._taken = 0

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes."""
        piece = self._stream.read(size)
        self._taken += len(piece)
        if self._taken > self._largest:
            raise _too_large(self._subject, self._taken, self._largest)
        return piece
