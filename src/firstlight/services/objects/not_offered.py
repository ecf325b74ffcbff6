"""What SkyPortal has and firstlight has not."""

from __future__ import annotations

from firstlight.errors import MissingError

__all__ = ["NotOffered"]


class NotOffered(MissingError):
    """SkyPortal has this; firstlight does not."""

    code = "portal.not_offered"
