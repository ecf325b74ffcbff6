"""The archive: files, headers, the upload log, info images, events, access."""

import math
import uuid
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from firstlight.provenance.fingerprint import product_id

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("topic", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=128), nullable=True),
        sa.Column("data", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_events_site"), ["site"], unique=False)
        batch_op.create_index(batch_op.f("ix_events_topic"), ["topic"], unique=False)

    op.create_table(
        "info_images",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("site", sa.String(length=128), nullable=False),
        sa.Column("channel", sa.Integer(), nullable=False),
        sa.Column("base_filename", sa.String(length=200), nullable=False),
        sa.Column("data_type", sa.String(length=32), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("shown_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "header",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column("header_rank", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("channel BETWEEN 1 AND 3", name=op.f("ck_info_images_channel")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_info_images")),
        sa.UniqueConstraint(
            "site",
            "channel",
            "base_filename",
            name=op.f("uq_info_images_site_channel_base_filename"),
        ),
    )
    with op.batch_alter_table("info_images", schema=None) as batch_op:
        batch_op.create_index("ix_info_images_base_filename", ["base_filename"], unique=False)
        batch_op.create_index(batch_op.f("ix_info_images_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "passing_files",
        sa.Column("key", sa.String(length=900), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("exposure_id", sa.Uuid(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_passing_files")),
    )
    with op.batch_alter_table("passing_files", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_passing_files_expires_at"), ["expires_at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_passing_files_exposure_id"), ["exposure_id"], unique=False
        )

    op.create_table(
        "removals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("what", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=900), nullable=False),
        sa.Column("site", sa.String(length=128), nullable=True),
        sa.Column("rule", sa.String(length=256), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removals")),
    )
    with op.batch_alter_table("removals", schema=None) as batch_op:
        batch_op.create_index("ix_removals_site_created_at", ["site", "created_at"], unique=False)

    op.create_table(
        "tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column(
            "scopes", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "sites",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("name", name=op.f("uq_tokens_name")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_tokens_token_hash")),
    )
    op.create_table(
        "upload_tickets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=900), nullable=False),
        sa.Column("name", sa.String(length=900), nullable=False),
        sa.Column("site", sa.String(length=128), nullable=True),
        sa.Column("channel", sa.Integer(), nullable=True),
        sa.Column(
            "cards",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column("max_size", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload_tickets")),
        sa.UniqueConstraint("key", name=op.f("uq_upload_tickets_key")),
    )
    with op.batch_alter_table("upload_tickets", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_upload_tickets_expires_at"), ["expires_at"], unique=False
        )

    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.String(length=2048), nullable=False),
        sa.Column(
            "sites",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column(
            "topics",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "last_error",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_table(
        "info_image_files",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("info_image_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("reduction_level", sa.String(length=2), nullable=True),
        sa.Column("key", sa.String(length=900), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("md5", sa.String(length=32), nullable=False),
        sa.Column("made", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["info_image_id"],
            ["info_images.id"],
            name=op.f("fk_info_image_files_info_image_id_info_images"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_info_image_files")),
        sa.UniqueConstraint(
            "info_image_id", "name", name=op.f("uq_info_image_files_info_image_id_name")
        ),
    )
    with op.batch_alter_table("info_image_files", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_info_image_files_key"), ["key"], unique=False)

    op.create_table(
        "observation_files",
        sa.Column("observation_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("key", sa.String(length=900), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("n_exposures", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provenance_id", sa.String(length=26), nullable=False),
        sa.Column("software_id", sa.String(length=26), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["observation_id"],
            ["observations.id"],
            name=op.f("fk_observation_files_observation_id_observations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["provenance_id"],
            ["provenances.id"],
            name=op.f("fk_observation_files_provenance_id_provenances"),
        ),
        sa.ForeignKeyConstraint(
            ["software_id"], ["software.id"], name=op.f("fk_observation_files_software_id_software")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observation_files")),
    )
    with op.batch_alter_table("observation_files", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_observation_files_observation_id"), ["observation_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_observation_files_provenance_id"), ["provenance_id"], unique=False
        )

    op.create_table(
        "exposure_cards",
        sa.Column("card", sa.BigInteger(), nullable=False),
        sa.Column("sort_mjd", sa.Double(), nullable=False),
        sa.Column("exposure_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["exposure_id"],
            ["exposures.id"],
            name=op.f("fk_exposure_cards_exposure_id_exposures"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("card", "sort_mjd", "exposure_id", name=op.f("pk_exposure_cards")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("exposure_cards", schema=None) as batch_op:
        batch_op.create_index("ix_exposure_cards_exposure_id", ["exposure_id"], unique=False)

    op.create_table(
        "exposure_files",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("exposure_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("reduction_level", sa.String(length=2), nullable=True),
        sa.Column("key", sa.String(length=900), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("md5", sa.String(length=32), nullable=False),
        sa.Column("made", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["exposure_id"],
            ["exposures.id"],
            name=op.f("fk_exposure_files_exposure_id_exposures"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exposure_files")),
        sa.UniqueConstraint("exposure_id", "name", name=op.f("uq_exposure_files_exposure_id_name")),
    )
    with op.batch_alter_table("exposure_files", schema=None) as batch_op:
        batch_op.create_index(
            "ix_exposure_files_exposure_id_role", ["exposure_id", "role"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_exposure_files_key"), ["key"], unique=False)
        batch_op.create_index(batch_op.f("ix_exposure_files_sha256"), ["sha256"], unique=False)

    op.create_table(
        "exposure_headers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("exposure_id", sa.Uuid(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column(
            "cards", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["exposure_id"],
            ["exposures.id"],
            name=op.f("fk_exposure_headers_exposure_id_exposures"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exposure_headers")),
    )
    with op.batch_alter_table("exposure_headers", schema=None) as batch_op:
        batch_op.create_index(
            "ix_exposure_headers_exposure_id_rank", ["exposure_id", "rank"], unique=False
        )

    with op.batch_alter_table("arrivals", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("version", sa.String(length=256), nullable=False, server_default="")
        )
        batch_op.add_column(
            sa.Column("origin", sa.String(length=16), nullable=False, server_default="ingest")
        )
        batch_op.add_column(sa.Column("name", sa.String(length=900), nullable=True))
        batch_op.add_column(sa.Column("site", sa.String(length=128), nullable=True))
        batch_op.add_column(sa.Column("collection", sa.String(length=16), nullable=True))
        batch_op.add_column(sa.Column("base_filename", sa.String(length=200), nullable=True))
        batch_op.add_column(sa.Column("channel", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("key", sa.String(length=900), nullable=True))
        batch_op.add_column(
            sa.Column(
                "header",
                sa.JSON(none_as_null=True).with_variant(
                    postgresql.JSONB(none_as_null=True), "postgresql"
                ),
                nullable=True,
            )
        )
        batch_op.add_column(sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.drop_index(batch_op.f("ix_arrivals_state"))
        batch_op.create_index(
            batch_op.f("ix_arrivals_base_filename"), ["base_filename"], unique=False
        )
        batch_op.create_index("ix_arrivals_created_at_id", ["created_at", "id"], unique=False)
        batch_op.create_index("ix_arrivals_site_created_at", ["site", "created_at"], unique=False)
        batch_op.create_index("ix_arrivals_state_created_at", ["state", "created_at"], unique=False)
        batch_op.drop_constraint(
            batch_op.f("fk_arrivals_exposure_id_exposures"), type_="foreignkey"
        )
        batch_op.create_foreign_key(
            batch_op.f("fk_arrivals_exposure_id_exposures"),
            "exposures",
            ["exposure_id"],
            ["id"],
            ondelete="SET NULL",
        )

    with op.batch_alter_table("exposures", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("collection", sa.String(length=16), nullable=False, server_default="data")
        )
        batch_op.add_column(sa.Column("base_filename", sa.String(length=200), nullable=True))
        batch_op.add_column(
            sa.Column("label", sa.String(length=900), nullable=False, server_default="")
        )
        batch_op.add_column(sa.Column("data_type", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("camera", sa.String(length=128), nullable=True))
        batch_op.add_column(sa.Column("night", sa.Date(), nullable=True))
        batch_op.add_column(sa.Column("sort_mjd", sa.Double(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("altitude", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("azimuth", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("user_id", sa.String(length=128), nullable=True))
        batch_op.add_column(sa.Column("username", sa.String(length=128), nullable=True))
        batch_op.add_column(sa.Column("smart_stack", sa.String(length=128), nullable=True))
        batch_op.add_column(sa.Column("stack_number", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("stack_length", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(
            sa.Column(
                "reduction_state", sa.String(length=16), nullable=False, server_default="none"
            )
        )
        batch_op.add_column(sa.Column("image_number", sa.BigInteger(), nullable=True))
        batch_op.add_column(
            sa.Column(
                "modified_at",
                sa.DateTime(timezone=True),
                nullable=False,
                server_default="2026-11-21 00:00:00+00:00",
            )
        )
        batch_op.alter_column("filename", existing_type=sa.VARCHAR(length=900), nullable=True)
        batch_op.drop_index(batch_op.f("ix_exposures_filter"))
        batch_op.drop_index(batch_op.f("ix_exposures_instrument"))
        batch_op.drop_index(batch_op.f("ix_exposures_kind"))
        batch_op.drop_index(batch_op.f("ix_exposures_observation_id"))
        batch_op.drop_index(batch_op.f("ix_exposures_site"))
        batch_op.drop_index(batch_op.f("ix_exposures_target"))
        batch_op.create_index(batch_op.f("ix_exposures_expires_at"), ["expires_at"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_exposures_image_number"), ["image_number"], unique=False
        )
        batch_op.create_index(
            "ix_exposures_search_camera", ["camera", "site", "sort_mjd", "id"], unique=False
        )
        batch_op.create_index(
            "ix_exposures_search_collection", ["collection", "site", "sort_mjd", "id"], unique=False
        )
        batch_op.create_index(
            "ix_exposures_search_data_type", ["data_type", "site", "sort_mjd", "id"], unique=False
        )
        batch_op.create_index("ix_exposures_search_date", ["sort_mjd", "id"], unique=False)
        batch_op.create_index(
            "ix_exposures_search_exp_time", ["exp_time", "site", "sort_mjd", "id"], unique=False
        )
        batch_op.create_index(
            "ix_exposures_search_filter", ["filter", "site", "sort_mjd", "id"], unique=False
        )
        batch_op.create_index("ix_exposures_search_hpx", ["hpx", "sort_mjd", "id"], unique=False)
        batch_op.create_index(
            "ix_exposures_search_instrument", ["instrument", "site", "sort_mjd", "id"], unique=False
        )
        batch_op.create_index(
            "ix_exposures_search_kind", ["kind", "site", "sort_mjd", "id"], unique=False
        )
        batch_op.create_index(
            "ix_exposures_search_label",
            ["label", "sort_mjd", "id"],
            unique=False,
            postgresql_ops={"label": "text_pattern_ops"},
        )
        batch_op.create_index(
            "ix_exposures_search_modified", ["modified_at", "sort_mjd", "id"], unique=False
        )
        batch_op.create_index(
            "ix_exposures_search_night", ["night", "site", "sort_mjd", "id"], unique=False
        )
        batch_op.create_index(
            "ix_exposures_search_reduction_state",
            ["reduction_state", "site", "sort_mjd", "id"],
            unique=False,
        )
        batch_op.create_index("ix_exposures_search_site", ["site", "sort_mjd", "id"], unique=False)
        batch_op.create_index(
            "ix_exposures_search_smart_stack", ["smart_stack", "stack_number"], unique=False
        )
        batch_op.create_index(
            "ix_exposures_search_target", ["target", "site", "sort_mjd", "id"], unique=False
        )
        batch_op.create_index(
            "ix_exposures_search_user_id", ["user_id", "site", "sort_mjd", "id"], unique=False
        )
        batch_op.create_index(
            "ix_exposures_search_username", ["username", "site", "sort_mjd", "id"], unique=False
        )
        batch_op.create_index(
            "uq_exposures_base_filename", ["base_filename", "collection"], unique=True
        )

    with op.batch_alter_table("observations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("site", sa.String(length=128), nullable=True))
        batch_op.add_column(sa.Column("sequence", sa.String(length=200), nullable=True))
        batch_op.create_index(batch_op.f("ix_observations_site"), ["site"], unique=False)
        batch_op.create_unique_constraint(batch_op.f("uq_observations_sequence"), ["sequence"])
    _describe_what_is_there(op.get_bind())


def _describe_what_is_there(connection: sa.Connection) -> None:
    """Fill the new columns of exposures, and give each the row of its file."""
    rows = connection.execute(
        sa.text(
            "SELECT id, filename, mjd, exp_time, longitude, size, sha256, md5, created_at"
            " FROM exposures"
        )
    ).mappings()
    update = sa.text(
        "UPDATE exposures SET sort_mjd = :sort_mjd, night = :night, image_number = :number,"
        " label = :label, camera = instrument, modified_at = created_at WHERE id = :id"
    ).bindparams(sa.bindparam("night", type_=sa.Date()))
    insert = sa.text(
        "INSERT INTO exposure_files (id, exposure_id, name, role, key, size, sha256, md5, made,"
        " created_at) VALUES (:id, :exposure_id, :name, 'raw', :key, :size, :sha256, :md5,"
        " :made, :created_at)"
    ).bindparams(sa.bindparam("id", type_=sa.Uuid()), sa.bindparam("made", type_=sa.Boolean()))
    for row in rows.all():
        connection.execute(update, _derived(row))
        if row["sha256"] is not None:
            connection.execute(insert, _raw_file(row))
    runs = "EXISTS (SELECT 1 FROM step_runs WHERE exposure_id = exposures.id"
    connection.execute(
        sa.text(
            f"UPDATE exposures SET reduction_state = CASE WHEN NOT {runs} AND state <> 'done')"  # noqa: S608, no input
            f" THEN 'done' WHEN {runs} AND state = 'done') THEN 'partial' ELSE 'failed' END"
            f" WHERE {runs})"
        )
    )


def _derived(row: sa.RowMapping) -> dict[str, Any]:
    start, night = None, None
    if row["mjd"] is not None:
        start = row["mjd"] - (row["exp_time"] or 0.0) / 172_800.0
        noons = math.floor(row["mjd"] + (row["longitude"] or 0.0) / 360.0 - 0.5)
        night = date(1858, 11, 17) + timedelta(days=noons)
    ident = uuid.UUID(str(row["id"]))
    return {
        "sort_mjd": start or 0.0,
        "night": night,
        "number": ident.int >> 75,
        "label": row["filename"].rsplit("/", 1)[-1],
        "id": row["id"],
    }


def _raw_file(row: sa.RowMapping) -> dict[str, Any]:
    name = row["filename"].rsplit("/", 1)[-1]
    return {
        **{key: row[key] for key in ("size", "sha256", "md5", "created_at")},
        "id": product_id("exposure file", [str(uuid.UUID(str(row["id"]))), name]),
        "exposure_id": row["id"],
        "name": name,
        "key": row["filename"],
        "made": False,
    }


def downgrade() -> None:
    with op.batch_alter_table("observations", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_observations_sequence"), type_="unique")
        batch_op.drop_index(batch_op.f("ix_observations_site"))
        batch_op.drop_column("sequence")
        batch_op.drop_column("site")

    with op.batch_alter_table("exposures", schema=None) as batch_op:
        batch_op.drop_index("uq_exposures_base_filename")
        batch_op.drop_index("ix_exposures_search_username")
        batch_op.drop_index("ix_exposures_search_user_id")
        batch_op.drop_index("ix_exposures_search_target")
        batch_op.drop_index("ix_exposures_search_smart_stack")
        batch_op.drop_index("ix_exposures_search_site")
        batch_op.drop_index("ix_exposures_search_reduction_state")
        batch_op.drop_index("ix_exposures_search_night")
        batch_op.drop_index("ix_exposures_search_modified")
        batch_op.drop_index(
            "ix_exposures_search_label", postgresql_ops={"label": "text_pattern_ops"}
        )
        batch_op.drop_index("ix_exposures_search_kind")
        batch_op.drop_index("ix_exposures_search_instrument")
        batch_op.drop_index("ix_exposures_search_hpx")
        batch_op.drop_index("ix_exposures_search_filter")
        batch_op.drop_index("ix_exposures_search_exp_time")
        batch_op.drop_index("ix_exposures_search_date")
        batch_op.drop_index("ix_exposures_search_data_type")
        batch_op.drop_index("ix_exposures_search_collection")
        batch_op.drop_index("ix_exposures_search_camera")
        batch_op.drop_index(batch_op.f("ix_exposures_image_number"))
        batch_op.drop_index(batch_op.f("ix_exposures_expires_at"))
        batch_op.create_index(batch_op.f("ix_exposures_target"), ["target"], unique=False)
        batch_op.create_index(batch_op.f("ix_exposures_site"), ["site"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_exposures_observation_id"), ["observation_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_exposures_kind"), ["kind"], unique=False)
        batch_op.create_index(batch_op.f("ix_exposures_instrument"), ["instrument"], unique=False)
        batch_op.create_index(batch_op.f("ix_exposures_filter"), ["filter"], unique=False)
        batch_op.alter_column("filename", existing_type=sa.VARCHAR(length=900), nullable=False)
        batch_op.drop_column("modified_at")
        batch_op.drop_column("image_number")
        batch_op.drop_column("reduction_state")
        batch_op.drop_column("expires_at")
        batch_op.drop_column("stack_length")
        batch_op.drop_column("stack_number")
        batch_op.drop_column("smart_stack")
        batch_op.drop_column("username")
        batch_op.drop_column("user_id")
        batch_op.drop_column("azimuth")
        batch_op.drop_column("altitude")
        batch_op.drop_column("sort_mjd")
        batch_op.drop_column("night")
        batch_op.drop_column("camera")
        batch_op.drop_column("data_type")
        batch_op.drop_column("label")
        batch_op.drop_column("base_filename")
        batch_op.drop_column("collection")

    with op.batch_alter_table("arrivals", schema=None) as batch_op:
        batch_op.drop_constraint(
            batch_op.f("fk_arrivals_exposure_id_exposures"), type_="foreignkey"
        )
        batch_op.create_foreign_key(
            batch_op.f("fk_arrivals_exposure_id_exposures"), "exposures", ["exposure_id"], ["id"]
        )
        batch_op.drop_index("ix_arrivals_state_created_at")
        batch_op.drop_index("ix_arrivals_site_created_at")
        batch_op.drop_index("ix_arrivals_created_at_id")
        batch_op.drop_index(batch_op.f("ix_arrivals_base_filename"))
        batch_op.create_index(batch_op.f("ix_arrivals_state"), ["state"], unique=False)
        batch_op.drop_column("finished_at")
        batch_op.drop_column("header")
        batch_op.drop_column("key")
        batch_op.drop_column("channel")
        batch_op.drop_column("base_filename")
        batch_op.drop_column("collection")
        batch_op.drop_column("site")
        batch_op.drop_column("name")
        batch_op.drop_column("origin")
        batch_op.drop_column("version")

    with op.batch_alter_table("exposure_headers", schema=None) as batch_op:
        batch_op.drop_index("ix_exposure_headers_exposure_id_rank")

    op.drop_table("exposure_headers")
    with op.batch_alter_table("exposure_files", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_exposure_files_sha256"))
        batch_op.drop_index(batch_op.f("ix_exposure_files_key"))
        batch_op.drop_index("ix_exposure_files_exposure_id_role")

    op.drop_table("exposure_files")
    with op.batch_alter_table("exposure_cards", schema=None) as batch_op:
        batch_op.drop_index("ix_exposure_cards_exposure_id")

    op.drop_table("exposure_cards")
    with op.batch_alter_table("observation_files", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_observation_files_provenance_id"))
        batch_op.drop_index(batch_op.f("ix_observation_files_observation_id"))

    op.drop_table("observation_files")
    with op.batch_alter_table("info_image_files", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_info_image_files_key"))

    op.drop_table("info_image_files")
    op.drop_table("webhooks")
    with op.batch_alter_table("upload_tickets", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_upload_tickets_expires_at"))

    op.drop_table("upload_tickets")
    op.drop_table("tokens")
    with op.batch_alter_table("removals", schema=None) as batch_op:
        batch_op.drop_index("ix_removals_site_created_at")

    op.drop_table("removals")
    with op.batch_alter_table("passing_files", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_passing_files_exposure_id"))
        batch_op.drop_index(batch_op.f("ix_passing_files_expires_at"))

    op.drop_table("passing_files")
    with op.batch_alter_table("info_images", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_info_images_expires_at"))
        batch_op.drop_index("ix_info_images_base_filename")

    op.drop_table("info_images")
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_events_topic"))
        batch_op.drop_index(batch_op.f("ix_events_site"))

    op.drop_table("events")
