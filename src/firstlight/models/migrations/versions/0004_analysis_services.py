"""Analysis services and their runs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "analysis_services",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("display_name", sa.String(length=256), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("version", sa.String(length=64), nullable=True),
        sa.Column("contact_name", sa.String(length=256), nullable=True),
        sa.Column("contact_email", sa.String(length=256), nullable=True),
        sa.Column("url", sa.String(length=2048), nullable=False),
        sa.Column("input_format", sa.String(length=16), nullable=False),
        sa.Column(
            "optional_analysis_parameters",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column("authentication_type", sa.String(length=32), nullable=False),
        sa.Column("sealed_authinfo", sa.Text(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("analysis_type", sa.String(length=32), nullable=False),
        sa.Column(
            "input_data_types",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column("timeout", sa.Double(), nullable=False),
        sa.Column("upload_only", sa.Boolean(), nullable=False),
        sa.Column("display_on_resource_dropdown", sa.Boolean(), nullable=False),
        sa.Column("is_summary", sa.Boolean(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=True),
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"],
            ["audiences.id"],
            name=op.f("fk_analysis_services_audience_id_audiences"),
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["users.id"],
            name=op.f("fk_analysis_services_owner_id_users"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analysis_services")),
        sa.UniqueConstraint("name", name=op.f("uq_analysis_services_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "default_analyses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("service_id", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column(
            "default_analysis_parameters",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "source_filter",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column("daily_limit", sa.Integer(), nullable=False),
        sa.Column("show_parameters", sa.Boolean(), nullable=False),
        sa.Column("show_plots", sa.Boolean(), nullable=False),
        sa.Column("show_corner", sa.Boolean(), nullable=False),
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"],
            ["audiences.id"],
            name=op.f("fk_default_analyses_audience_id_audiences"),
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["users.id"],
            name=op.f("fk_default_analyses_owner_id_users"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["service_id"],
            ["analysis_services.id"],
            name=op.f("fk_default_analyses_service_id_analysis_services"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_default_analyses")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("default_analyses", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_default_analyses_service_id"), ["service_id"], unique=False
        )

    op.create_table(
        "analyses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Integer(), nullable=True),
        sa.Column("service_name", sa.String(length=128), nullable=False),
        sa.Column("service_version", sa.String(length=64), nullable=True),
        sa.Column("owner_id", sa.Integer(), nullable=True),
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("default_analysis_id", sa.Integer(), nullable=True),
        sa.Column("rerun_of_id", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("status_message", sa.Text(), nullable=True),
        sa.Column(
            "error",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column(
            "analysis_parameters",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "input_filters",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column("show_parameters", sa.Boolean(), nullable=False),
        sa.Column("show_plots", sa.Boolean(), nullable=False),
        sa.Column("show_corner", sa.Boolean(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("invalid_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("inputs_sha256", sa.String(length=64), nullable=True),
        sa.Column("inputs_stamp", sa.String(length=256), nullable=True),
        sa.Column(
            "inputs_count", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "progress",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column(
            "facts", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"], ["audiences.id"], name=op.f("fk_analyses_audience_id_audiences")
        ),
        sa.ForeignKeyConstraint(
            ["default_analysis_id"],
            ["default_analyses.id"],
            name=op.f("fk_analyses_default_analysis_id_default_analyses"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["object_id"],
            ["objects.id"],
            name=op.f("fk_analyses_object_id_objects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_analyses_owner_id_users"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["rerun_of_id"],
            ["analyses.id"],
            name=op.f("fk_analyses_rerun_of_id_analyses"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["service_id"],
            ["analysis_services.id"],
            name=op.f("fk_analyses_service_id_analysis_services"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analyses")),
        sa.UniqueConstraint("key", name=op.f("uq_analyses_key")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_analyses_token_hash")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("analyses", schema=None) as batch_op:
        batch_op.create_index(
            "ix_analyses_default_analysis_id_created_at",
            ["default_analysis_id", "created_at"],
            unique=False,
        )
        batch_op.create_index("ix_analyses_object_id_id", ["object_id", "id"], unique=False)
        batch_op.create_index("ix_analyses_owner_id_status", ["owner_id", "status"], unique=False)
        batch_op.create_index(batch_op.f("ix_analyses_service_id"), ["service_id"], unique=False)
        batch_op.create_index(
            "ix_analyses_status_next_try_at", ["status", "next_try_at"], unique=False
        )

    op.create_table(
        "analysis_files",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("analysis_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=900), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["analysis_id"],
            ["analyses.id"],
            name=op.f("fk_analysis_files_analysis_id_analyses"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analysis_files")),
        sa.UniqueConstraint(
            "analysis_id",
            "kind",
            "number",
            "name",
            name=op.f("uq_analysis_files_analysis_id_kind_number_name"),
        ),
    )
    _lists_of_objects()


_NUMBERS = ("n_points", "last_detected_mjd", "last_detected_mag", "peak_mag", "mean_mag")
_SAVED = {
    "ix_saved_objects_saved_at": ["saved_at", "object_id", "group_id", "active", "requested"],
    "ix_saved_objects_object_id": ["object_id", "group_id", "active", "requested", "saved_at"],
}


def _lists_of_objects() -> None:
    """Indexes that lists of objects are walked by, and who sees a whole light curve."""
    table = "photometry_summaries"
    op.add_column(table, sa.Column("only_audience_id", sa.Integer(), nullable=True))
    kind = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    known = sa.table(table, sa.column("only_audience_id", sa.Integer()), sa.column("filters", kind))
    seen_by = known.c.filters["audiences"]
    length = sa.func.json_array_length(seen_by)
    if op.get_bind().dialect.name == "postgresql":
        length = sa.func.jsonb_array_length(seen_by)
    only = known.c.filters[("audiences", 0)].as_integer()
    op.execute(known.update().values(only_audience_id=only).where(length == 1))
    for name in _NUMBERS:
        op.drop_index(f"ix_{table}_{name}", table)
        op.create_index(f"ix_{table}_{name}", table, [name, "object_id", "only_audience_id"])
    op.create_index(f"ix_{table}_only_audience_id", table, ["only_audience_id"])
    for name, columns in _SAVED.items():
        op.create_index(name, "saved_objects", columns)


def _lists_as_before() -> None:
    table = "photometry_summaries"
    for name in _SAVED:
        op.drop_index(name, "saved_objects")
    op.drop_index(f"ix_{table}_only_audience_id", table)
    for name in _NUMBERS:
        columns = [name, "object_id"] if name == "n_points" else [name]
        op.drop_index(f"ix_{table}_{name}", table)
        op.create_index(f"ix_{table}_{name}", table, columns)
    with op.batch_alter_table(table, schema=None) as batch_op:
        batch_op.drop_column("only_audience_id")


def downgrade() -> None:
    _lists_as_before()
    op.drop_table("analysis_files")
    with op.batch_alter_table("analyses", schema=None) as batch_op:
        batch_op.drop_index("ix_analyses_status_next_try_at")
        batch_op.drop_index(batch_op.f("ix_analyses_service_id"))
        batch_op.drop_index("ix_analyses_owner_id_status")
        batch_op.drop_index("ix_analyses_object_id_id")
        batch_op.drop_index("ix_analyses_default_analysis_id_created_at")

    op.drop_table("analyses")
    with op.batch_alter_table("default_analyses", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_default_analyses_service_id"))

    op.drop_table("default_analyses")
    op.drop_table("analysis_services")
