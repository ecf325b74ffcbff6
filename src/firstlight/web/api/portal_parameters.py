"""Parts of addresses and bodies that many routes of the portal share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from firstlight.services.objects.wire_values import LARGEST_ID

__all__ = ["Groups", "ObjectName", "Page", "PerPage", "PortalRequest", "RowId"]

ObjectName = Annotated[str, Path(max_length=128, description="Name of the object.")]
RowId = Annotated[int, Path(ge=0, le=LARGEST_ID, description="Number of the row.")]
Page = Annotated[int, Query(alias="pageNumber", ge=1, le=LARGEST_ID)]
PerPage = Annotated[int, Query(alias="numPerPage", ge=1, le=LARGEST_ID)]
Groups = Annotated[
    list[int] | str | None,
    Field(description='Numbers of the groups to share it with; "all" for all of your groups.'),
]


class PortalRequest(BaseModel):
    """A body of the portal's routes: keys that are not known are errors."""

    model_config = ConfigDict(extra="forbid")
