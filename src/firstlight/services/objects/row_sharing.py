"""Sharing points of light curves and spectra with further groups."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import or_, select, true, update
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput, MissingError
from firstlight.models.account import Membership
from firstlight.models.audience import AudienceGroup, widened
from firstlight.models.database import Database
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.models.spectrum import Spectrum
from firstlight.services.access import Forbidden, Viewer
from firstlight.services.objects.object_summary import summarise
from firstlight.services.objects.saved_objects import existing_groups
from firstlight.services.objects.sharing import tell
from firstlight.services.objects.wire_values import LARGEST_ID
from firstlight.services.visibility import seen_by

__all__ = ["RowSharing", "SharedRowMissing"]

_MOST_AT_ONCE = 10_000


class SharedRowMissing(MissingError):
    """A point or spectrum that is to be shared is not there, or not for you."""

    code = "sharing.row_missing"


class RowSharing:
    """Lets groups see single rows besides those who see them already.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def share(
        self,
        viewer: Viewer,
        group_ids: Collection[int],
        *,
        photometry_ids: Collection[int] = (),
        spectrum_ids: Collection[int] = (),
    ) -> None:
        """Share rows with groups of the viewer; their objects with them.

        Raises
        ------
        InvalidInput
            No group or no row is named, or a group is not the viewer's.
        SharedRowMissing
            A row is not there, or the viewer may not see it.
        Forbidden
            It is neither the viewer's own nor shared with a group in which they may share.
        """
        viewer.require("upload")
        if not group_ids or not (photometry_ids or spectrum_ids):
            raise InvalidInput(
                "One of either photometryIDs or spectrumIDs must be provided, and groupIDs.",
                field="groupIDs",
            )
        with self._database.begin() as session:
            groups = existing_groups(session, group_ids, "groupIDs", viewer=viewer)
            touched = _share(session, viewer, (Photometry, "photometryIDs", photometry_ids), groups)
            summarise(session, touched)
            touched |= _share(session, viewer, (Spectrum, "spectrumIDs", spectrum_ids), groups)
            for ident in sorted(touched):
                thing = session.get_one(Object, ident)
                thing.audience_id = widened(session, thing.audience_id, groups=groups)
                tell(session, thing.name, "shared", thing.audience_id, {})


def _share(
    session: Session,
    viewer: Viewer,
    which: tuple[type[Photometry] | type[Spectrum], str, Collection[int]],
    groups: list[int],
) -> set[Any]:
    """Widen the audience of rows; returns the ids of their objects."""
    table, field, given = which
    wanted = sorted(set(given))
    if not wanted:
        return set()
    if len(wanted) > _MOST_AT_ONCE:
        raise InvalidInput(field=field, found=len(wanted), expected=f"at most {_MOST_AT_ONCE}")
    largest = 2**63 if table is Photometry else LARGEST_ID + 1
    if any(not 0 < each < largest for each in wanted):
        raise SharedRowMissing(field=field)
    rows = session.execute(
        select(table.id, table.object_id, table.audience_id).where(
            table.id.in_(wanted), seen_by(viewer, table.audience_id)
        )
    ).all()
    if len(rows) < len(wanted):
        missing = sorted(set(wanted) - {row.id for row in rows})
        raise SharedRowMissing(field=field, found=", ".join(map(str, missing[:20])))
    allowed = set(
        session.scalars(select(table.id).where(table.id.in_(wanted), _may_share(viewer, table)))
    )
    if len(allowed) < len(wanted):
        refused = min(set(wanted) - allowed)
        raise Forbidden("you may not share this", subject=viewer.name, field=field, found=refused)
    for audience in {row.audience_id for row in rows}:
        wider = widened(session, audience, groups=groups)
        session.execute(
            update(table)
            .where(table.id.in_([row.id for row in rows if row.audience_id == audience]))
            .values(audience_id=wider)
        )
    return {row.object_id for row in rows}


def _may_share(viewer: Viewer, table: type[Photometry] | type[Spectrum]) -> Any:
    """The viewer's own rows, and those of groups that let the viewer share."""
    if viewer.sees_all or viewer.may("manage_photometry"):
        return true()
    sharing = (
        select(AudienceGroup.audience_id)
        .join(Membership, Membership.group_id == AudienceGroup.group_id)
        .where(
            Membership.user_id == viewer.user_id,
            Membership.can_share_photometry,
            Membership.group_id.in_(viewer.groups),
        )
    )
    return or_(table.owner_id == viewer.user_id, table.audience_id.in_(sharing))
