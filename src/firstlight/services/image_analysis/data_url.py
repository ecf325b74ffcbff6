"""A file within a data URL, as browsers and SkyPortal's former form send it."""

from __future__ import annotations

import base64
import binascii
import io
from typing import BinaryIO
from urllib.parse import unquote

from firstlight.errors import UserError

__all__ = ["BadDataUrl", "decoded_data_url"]


class BadDataUrl(UserError):
    """The image is not in a data URL."""

    code = "image_upload.data_url"


def decoded_data_url(text: str) -> tuple[str, BinaryIO]:
    """Name and bytes of ``data:TYPE;name=NAME;base64,...``.

    Raises
    ------
    BadDataUrl
        It is none, or its base64 is damaged.
    """
    head, comma, body = text.partition(",")
    kind, *options = head.split(";")
    if not comma or not kind.startswith("data:") or "base64" not in options:
        raise BadDataUrl(
            field="image_data", found=head[:100], expected="data:image/fits;name=NAME;base64,..."
        )
    names = [option.removeprefix("name=") for option in options if option.startswith("name=")]
    try:
        data = base64.b64decode(body, validate=True)
    except binascii.Error as fault:
        raise BadDataUrl(field="image_data", found=str(fault), expected="base64") from fault
    return unquote(names[0]) if names else "image.fits", io.BytesIO(data)
