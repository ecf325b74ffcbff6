"""Lists by magnitude ask no row how bright it was at its peak."""

from collections.abc import Sequence

from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_SUMMARIES = "photometry_summaries"
_BY_LAST = "ix_photometry_summaries_last_detected_mag"
_COLUMNS = ["last_detected_mag", "object_id", "only_audience_id"]


def upgrade() -> None:
    op.drop_index(_BY_LAST, _SUMMARIES)
    op.create_index(_BY_LAST, _SUMMARIES, [*_COLUMNS, "peak_mag"])


def downgrade() -> None:
    op.drop_index(_BY_LAST, _SUMMARIES)
    op.create_index(_BY_LAST, _SUMMARIES, _COLUMNS)
