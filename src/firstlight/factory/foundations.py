"""What every service stands on: settings, folders, database, store."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from functools import cached_property
from pathlib import Path

from pydantic import SecretStr

from firstlight.config import Settings, set_up_instruments
from firstlight.errors import BadSettings
from firstlight.models.data_root import configure_data_roots
from firstlight.models.database import Database
from firstlight.storage import StorageSettings, Store, open_store

__all__ = ["Foundations"]

KEY_FILE = "secret.key"
KEY_BYTES = 32


class Foundations:
    """Settings of one workspace, and what is opened with them.

    Parameters
    ----------
    workspace
        The folder.
    settings
        As read from it.
    """

    def __init__(self, workspace: Path, settings: Settings) -> None:
        self.workspace = workspace.absolute()
        self.settings = settings
        set_up_instruments(self.workspace, settings)
        configure_data_roots(self.data_folder, server=self._server())

    @property
    def data_folder(self) -> Path:
        """Local root of the data."""
        return self.workspace / self.settings.path.data_root

    @cached_property
    def database(self) -> Database:
        """The tables."""
        return Database(self.database_url)

    @property
    def database_url(self) -> str:
        """With the path of an SQLite file made absolute."""
        url = self.settings.database.url
        scheme, separator, path = url.partition(":///")
        if scheme.startswith("sqlite") and separator and not path.startswith("/"):
            return f"{scheme}:///{self.workspace / path}"
        return url

    @cached_property
    def storage_settings(self) -> StorageSettings:
        """Settings of the store, with whole paths, and what signed links need."""
        settings, update = self.settings.storage, dict[str, object]()
        if settings.cache_folder is not None:
            update["cache_folder"] = self.workspace / settings.cache_folder
        if "://" not in settings.root:
            update["root"] = str(self.workspace / settings.root)
        if settings.link_base_url is None:
            # Without an address of its own the server completes links as it is asked.
            update["link_base_url"] = f"{(self.settings.web.base_url or '').rstrip('/')}/api"
        if settings.link_secret is None:
            update["link_secret"] = SecretStr(self.secret.hex())
        return settings.model_copy(update=update)

    @cached_property
    def store(self) -> Store:
        """The bytes."""
        return open_store(self.storage_settings)

    @cached_property
    def secret(self) -> bytes:
        """What signs links and messages of this workspace: 32 random bytes, made once."""
        path = self.workspace / KEY_FILE
        if not path.exists():
            with tempfile.NamedTemporaryFile("w", dir=self.workspace, prefix=".key-") as stream:
                stream.write(secrets.token_hex(KEY_BYTES))
                stream.flush()
                # Linked when it is whole; another process may have been faster.
                with contextlib.suppress(FileExistsError):
                    os.link(stream.name, path)
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
        if len(secret) < KEY_BYTES:
            raise BadSettings(
                "the secret of the workspace is not whole",
                subject=path,
                hint="remove the file: a new one is made, and old links end",
            )
        return secret

    def _server(self) -> Path | Store | None:
        """Where files come from that are not in the data folder."""
        if self.settings.path.server_data is not None:
            return Path(self.settings.path.server_data)
        if self.settings.storage.root == self.settings.path.data_root:
            return None
        return self.store
