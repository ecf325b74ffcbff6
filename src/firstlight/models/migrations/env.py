"""Alembic's environment: migrations run on the connection that `Database` passes in."""

from alembic import context
from sqlalchemy import Connection

import firstlight.models  # noqa: F401, fills the metadata
from firstlight.models.base import Base


def run(connection: Connection) -> None:
    """Run migrations on an open connection."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
