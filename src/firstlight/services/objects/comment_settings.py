"""What an operator can set about comments. Light to import."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CommentSettings"]


class CommentSettings(BaseModel):
    """How much people may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_attachment_bytes: int = Field(default=10_485_760, ge=0)
    """The longest file attached to a comment. The body that brings it is longer by a third, and
    must fit into ``web.max_data_bytes``."""
    max_text: int = Field(default=20_000, ge=1, le=1_000_000)
    """The longest comment, characters."""
