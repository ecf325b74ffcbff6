"""Whether the data of a run have changed since it was sent."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from firstlight.errors import UserError
from firstlight.models.account import User
from firstlight.models.analysis import Analysis
from firstlight.models.object import Object
from firstlight.services.accounts.account_viewers import viewer_of_account
from firstlight.services.analyses.analysis_inputs_stamp import stale_types, stamp, types_of

__all__ = ["stale_inputs"]


def stale_inputs(
    session: Session,
    run: Analysis,
    thing: Object,
    now: datetime,
    public_sites: frozenset[str] | None,
) -> list[str] | None:
    """The types of data that are no longer as they were sent.

    They are compared as the owner of the run sees them, whoever looks at it.

    Returns
    -------
    list of str or None
        None where it is not known: nothing was sent, or the owner has gone.
    """
    owner = None if run.owner_id is None else session.get(User, run.owner_id)
    if run.inputs_stamp is None or owner is None:
        return None
    try:
        viewer = viewer_of_account(session, owner, now, public=public_sites)
    except UserError:
        return None
    types = types_of(run.inputs_stamp)
    return stale_types(run.inputs_stamp, stamp(session, viewer, thing, types, run.input_filters))
