"""Alembic's environment: migrations run on the connection that `Database` passes in."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import JSON, Connection

import firstlight.models  # noqa: F401, fills the metadata
from firstlight.models.base import Base, UtcDateTime


def render(kind: str, value: Any, _: object) -> str | Literal[False]:
    """Write our column types so that a migration stands without the models of its day."""
    if kind == "type" and isinstance(value, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(value, JSON):
        null = "none_as_null=True" if value.none_as_null else ""
        return f'sa.JSON({null}).with_variant(postgresql.JSONB({null}), "postgresql")'
    return False


def run(connection: Connection) -> None:
    """Run migrations on an open connection."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        render_item=render,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
