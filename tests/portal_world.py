"""A whole portal for tests: a workspace made as a user makes it, accounts, a server on a port."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from firstlight.config import FILE_NAME
from firstlight.factory import Factory
from firstlight.services.access import operator
from firstlight.services.accounts.users import NewUser
from firstlight.web.app import create_app
from firstlight.web.server import server_config

PASSWORD = "correct horse battery staple"  # noqa: S105, of accounts that live for a test
SETTINGS = """
[web]
open_on_loopback = false
poll_interval_s = 0.02
"""


@dataclass
class Portal:
    """One workspace, its application, and what its accounts show to come in."""

    factory: Factory
    app: object
    tokens: dict[str, str] = field(default_factory=dict)
    users: dict[str, int] = field(default_factory=dict)

    def add_user(self, name: str, *, roles: list[str], scopes: list[str]) -> None:
        """Make an account with a password, and a token of it."""
        new = NewUser(username=name, roles=roles, password=PASSWORD)
        number = self.factory.users.create(operator(), new)
        made = self.factory.user_tokens.make(operator(), f"of {name}", scopes, user_id=number)
        self.users[name], self.tokens[name] = number, made.token

    def headers(self, name: str | None) -> dict[str, str]:
        """What a program of that account sends."""
        return {} if name is None else {"Authorization": f"token {self.tokens[name]}"}


def make_portal(folder: Path, database_url: str | None = None, settings: str = SETTINGS) -> Portal:
    """Make a workspace in a folder, and open it."""
    Factory.create(folder, database_url).database.dispose()
    path = folder / FILE_NAME
    path.write_text(path.read_text() + settings)
    factory = Factory.open(folder)
    return Portal(factory, create_app(factory))


@contextmanager
def on_a_port(app):
    """Serve an application as `firstlight serve` does, until the end; gives its address."""
    config = server_config(app, app.state.services.web_settings)
    config.port = 0
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive(), "the server did not start"
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        app.state.hub.close()
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
