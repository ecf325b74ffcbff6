"""What permissions there are: our scopes, the names that SkyPortal's clients use, the roles."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from firstlight.errors import InvalidInput
from firstlight.models.token import SCOPES

__all__ = [
    "ACLS",
    "FULL_USER",
    "GROUP_ADMIN",
    "ROLES",
    "SCOPES",
    "SUPER_ADMIN",
    "VIEW_ONLY",
    "acls_of",
    "checked_acls",
    "checked_roles",
    "implied",
    "permissions",
    "scopes_of",
]

ACLS = {
    "Annotate": "annotate",
    "Classify": "classify",
    "Comment": "comment",
    "Manage Analysis Services": "manage_services",
    "Manage groups": "manage_groups",
    "Manage instruments": "manage_instruments",
    "Manage photometry": "manage_photometry",
    "Manage sources": "manage_sources",
    "Manage telescopes": "manage_telescopes",
    "Manage users": "manage_users",
    "Operate": "operate",
    "Post taxonomy": "manage_taxonomies",
    "Run Analyses": "analyse",
    "System admin": "admin",
    "Upload data": "upload",
}
"""The name of a permission at the edge, and our scope. All are SkyPortal's but ``Operate``."""

SUPER_ADMIN = "Super admin"
GROUP_ADMIN = "Group admin"
FULL_USER = "Full user"
VIEW_ONLY = "View only"

_FULL = frozenset({"Annotate", "Classify", "Comment", "Run Analyses", "Upload data"})

ROLES: dict[str, frozenset[str]] = {
    SUPER_ADMIN: frozenset(ACLS),
    GROUP_ADMIN: _FULL
    | {"Manage Analysis Services", "Manage sources", "Manage users", "Post taxonomy"},
    FULL_USER: _FULL,
    VIEW_ONLY: frozenset(),
}
"""Of each role the permissions that it brings."""

# To read is not to watch: a program may poll without being told.
_IMPLIED = {"admin": frozenset(SCOPES), "operate": frozenset({"read", "watch", "upload"})}
# Whoever has an account reads and watches what is theirs to see.
_OF_ACCOUNTS = frozenset({"read", "watch"})
_BY_SCOPE = {scope: name for name, scope in ACLS.items()}


def implied(scopes: Iterable[str]) -> frozenset[str]:
    """Scopes, with what they bring with them."""
    given = frozenset(scopes)
    return given.union(*(_IMPLIED.get(scope, ()) for scope in given))


def permissions(roles: Iterable[str], acls: Iterable[str]) -> frozenset[str]:
    """Names of all permissions of an account: those of its roles, and its own."""
    return frozenset(acls).union(*(ROLES.get(role, ()) for role in roles)) & frozenset(ACLS)


def scopes_of(acls: Iterable[str]) -> frozenset[str]:
    """What an account with these permissions may do."""
    return implied({ACLS[name] for name in acls if name in ACLS}) | _OF_ACCOUNTS


def acls_of(scopes: Iterable[str]) -> list[str]:
    """Names of the permissions that scopes are, sorted; scopes without such a name are left out."""
    return sorted(_BY_SCOPE[scope] for scope in scopes if scope in _BY_SCOPE)


def checked_acls(names: Collection[str]) -> list[str]:
    """Names of permissions, sorted.

    Raises
    ------
    InvalidInput
        There is no such permission.
    """
    return _checked(names, ACLS, "acls")


def checked_roles(names: Collection[str]) -> list[str]:
    """Names of roles, sorted.

    Raises
    ------
    InvalidInput
        There is no such role.
    """
    return _checked(names, ROLES, "roles")


def _checked(names: Collection[str], known: Collection[str], field: str) -> list[str]:
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise InvalidInput(
            field=field,
            found=", ".join(unknown)[:200],
            expected="some of " + ", ".join(sorted(known)),
        )
    return sorted(set(names))
