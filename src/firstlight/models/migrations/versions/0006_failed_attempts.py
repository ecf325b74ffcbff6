"""Failed attempts to sign in are counted for all web processes together."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "failed_attempts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("forgotten_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_failed_attempts")),
    )
    op.create_index("ix_failed_attempts_forgotten_at", "failed_attempts", ["forgotten_at"])
    op.create_index(
        "ix_failed_attempts_key_forgotten_at", "failed_attempts", ["key", "forgotten_at"]
    )


def downgrade() -> None:
    op.drop_table("failed_attempts")
