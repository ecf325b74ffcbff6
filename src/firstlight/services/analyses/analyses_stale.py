"""Whether the data of a run have changed since it was sent."""

from __future__ import annotations

from collections.abc import MutableMapping
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
    marks: MutableMapping[tuple[object, ...], str] | None = None,
) -> list[str] | None:
    """The types of data that are no longer as they were sent.

    They are compared as the owner of the run sees them, whoever looks at it.

    Parameters
    ----------
    marks
        Kept by whoever asks about several runs at one moment: the present mark of equal data is
        then made once.

    Returns
    -------
    list of str or None
        None where it is not known: nothing was sent, or the owner has gone.
    """
    owner = None if run.owner_id is None else session.get(User, run.owner_id)
    if run.inputs_stamp is None or owner is None:
        return None
    types = types_of(run.inputs_stamp)
    key = (owner.id, thing.id, *types, repr(run.input_filters))
    known = {} if marks is None else marks
    if key not in known:
        try:
            viewer = viewer_of_account(session, owner, now, public=public_sites)
        except UserError:
            return None
        known[key] = stamp(session, viewer, thing, types, run.input_filters)
    return stale_types(run.inputs_stamp, known[key])
