import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.errors import InvalidInput
from firstlight.services.accounts.permissions import (
    ACLS,
    ROLES,
    SCOPES,
    acls_of,
    checked_acls,
    checked_roles,
    implied,
    permissions,
    scopes_of,
)

OURS = {"Operate"}
SKYPORTALS = {
    "Become user", "Comment", "Annotate", "Manage users", "Manage sources", "Manage photometry",
    "Manage groups", "Manage teams", "Manage sharing services", "Manage shifts",
    "Manage instruments", "Manage allocations", "Manage observing runs", "Manage telescopes",
    "Manage Analysis Services", "Manage Recurring APIs", "Manage observation plans",
    "Manage GCNs", "Upload data", "Run Analyses", "System admin", "Post taxonomy",
    "Delete taxonomy", "Delete bulk photometry", "Classify",
}  # fmt: skip


def test_each_permission_is_one_scope_and_has_skyportals_name():
    assert len(set(ACLS.values())) == len(ACLS)
    assert set(ACLS.values()) == set(SCOPES) - {"read", "watch"}
    assert set(ACLS) - OURS <= SKYPORTALS


@given(st.sets(st.sampled_from(sorted(ACLS))))
def test_names_come_back_from_their_scopes(names):
    assert acls_of({ACLS[name] for name in names}) == sorted(names)


@given(st.sets(st.sampled_from(sorted(ACLS))), st.sets(st.sampled_from(sorted(ACLS))))
def test_more_permissions_never_allow_less(some, more):
    assert scopes_of(some) <= scopes_of(some | more)


def test_what_roles_bring():
    assert scopes_of(permissions(["Super admin"], [])) == set(SCOPES)
    assert scopes_of(permissions(["View only"], [])) == {"read", "watch"}
    full = scopes_of(permissions(["Full user"], []))
    assert full == {"read", "watch", "upload", "comment", "annotate", "classify", "analyse"}
    group_admin = scopes_of(permissions(["Group admin"], []))
    assert full < group_admin
    assert not {"admin", "operate", "manage_groups"} & group_admin
    assert scopes_of(permissions(["Full user"], ["Manage groups"])) == full | {"manage_groups"}
    assert permissions(["no such role"], ["no such permission"]) == frozenset()


def test_what_scopes_imply():
    assert implied(["admin"]) == set(SCOPES)
    assert implied(["operate"]) == {"operate", "read", "watch", "upload"}
    assert implied(["comment"]) == {"comment"}


def test_what_is_unknown_is_refused():
    assert checked_acls(["Comment", "Annotate", "Comment"]) == ["Annotate", "Comment"]
    assert checked_roles(list(ROLES)) == sorted(ROLES)
    with pytest.raises(InvalidInput, match="Fly"):
        checked_acls(["Comment", "Fly"])
    with pytest.raises(InvalidInput, match="Owner"):
        checked_roles(["Owner"])
