"""Files attached to comments: bytes that are kept and given back, and never looked into."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from firstlight.errors import InvalidInput, MissingError, UserError
from firstlight.services.objects.wire_values import plain_text
from firstlight.storage import Store

__all__ = ["Attachment", "AttachmentMissing", "AttachmentTooLarge", "Attachments", "NewAttachment"]

_FOLDER = "portal/attachments"
_LONGEST_NAME = 256
_PIECE = 1 << 18


class AttachmentMissing(MissingError):
    """Nothing is attached to the comment, or it was removed."""

    code = "comment.no_attachment"


class AttachmentTooLarge(UserError):
    """The attached file is too large."""

    code = "comment.attachment_too_large"


@dataclass(frozen=True, slots=True)
class NewAttachment:
    """A file as it is sent: its name, and its bytes in base64, maybe as a data URL."""

    name: str
    body: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """An open file.

    Attributes
    ----------
    name
        As its sender called it.
    size
        Bytes.
    """

    name: str
    size: int
    stream: BinaryIO

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes and close the file."""
        with self.stream as stream:
            while piece := stream.read(_PIECE):
                yield piece


class Attachments:
    """Keeps attached files in the store.

    Parameters
    ----------
    store
        Where they are.
    max_bytes
        The longest.
    """

    def __init__(self, *, store: Store, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes

    def keep(self, new: NewAttachment) -> tuple[str, str]:
        """Store a file; returns its name and key.

        Raises
        ------
        AttachmentTooLarge
            It is longer than the settings allow.
        InvalidInput
            The name is empty, or the body is not base64.
        """
        name = new.name.replace("\\", "/").rpartition("/")[2]
        plain_text(name, "attachment.name", longest=_LONGEST_NAME)
        content = self._decoded(new.body)
        key = f"{_FOLDER}/{uuid.uuid4().hex}"
        self._store.put(key, content)
        return name, key

    def open(self, name: str | None, key: str | None) -> Attachment:
        """Open a file by what `keep` returned.

        Raises
        ------
        AttachmentMissing
            There is none.
        """
        if name is None or key is None:
            raise AttachmentMissing
        try:
            stream = self._store.open(key)
        except MissingError as fault:
            raise AttachmentMissing(subject=name) from fault
        return Attachment(name, stream.seek(0, 2), _rewound(stream))

    def forget(self, key: str | None) -> None:
        """Remove a file that no comment has any more."""
        if key is not None:
            self._store.delete(key)

    def _decoded(self, body: str) -> bytes:
        text = body.partition(";base64,")[2] if body.startswith("data:") else body
        if len(text) * 3 // 4 > self._max_bytes + 3:
            raise self._too_large(len(text) * 3 // 4)
        try:
            content = base64.b64decode("".join(text.split()).encode("ascii"), validate=True)
        except (binascii.Error, ValueError) as fault:
            raise InvalidInput(
                field="attachment.body", found=str(fault)[:100], expected="base64"
            ) from fault
        if len(content) > self._max_bytes:
            raise self._too_large(len(content))
        return content

    def _too_large(self, size: int) -> AttachmentTooLarge:
        return AttachmentTooLarge(
            found=f"{size} bytes",
            expected=f"at most {self._max_bytes} bytes",
            hint="the operator sets comments.max_attachment_bytes",
        )


def _rewound(stream: BinaryIO) -> BinaryIO:
    stream.seek(0)
    return stream
