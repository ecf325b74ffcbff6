"""One portal for all tests of this folder: root, an owner with secrets, and those who may not
know of them."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
import pytest
from secret_world import Secrets, fill

from portal_world import Portal, make_portal, on_a_port

SETTINGS = """
[web]
open_on_loopback = false
poll_interval_s = 0.02

[accounts]
attempts_per_username = 5
attempts_per_address = 100000
"""


@dataclass
class Guarded:
    """The portal, where it answers, and what is kept in it."""

    portal: Portal
    address: str
    secrets: Secrets

    def client(self, name: str | None, **options: object) -> httpx.Client:
        """Ask as an account; None for somebody without one."""
        headers = {**self.portal.headers(name), **options.pop("headers", {})}
        return httpx.Client(base_url=self.address, headers=headers, timeout=30, **options)


@pytest.fixture(scope="session")
def guarded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded") / "workspace"
    portal = make_portal(folder, settings=SETTINGS)
    portal.add_user("root", roles=["Super admin"], scopes=["admin"])
    may = ["upload", "comment", "annotate", "classify", "analyse"]
    portal.add_user(
        "owner",
        roles=["Group admin"],
        scopes=[*may, "manage_services", "manage_sources", "manage_taxonomies"],
    )
    portal.add_user("stranger", roles=["Full user"], scopes=may)
    portal.add_user("reader", roles=["View only"], scopes=["read"])
    with on_a_port(portal.app) as address:
        yield Guarded(portal, address, fill(portal, address))
    portal.factory.database.dispose()
