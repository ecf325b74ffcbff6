"""The portal: accounts, audiences, notes, spectra, photometry from any origin, image analyses."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    _accounts()
    _notes()
    # What is copied keeps its numbers, and none is given twice.
    counting = {"sqlite_autoincrement": True}
    with op.batch_alter_table("events", schema=None, table_kwargs=counting) as batch_op:
        batch_op.add_column(sa.Column("audience_id", sa.Integer(), nullable=True))
        batch_op.create_foreign_key(
            batch_op.f("fk_events_audience_id_audiences"), "audiences", ["audience_id"], ["id"]
        )
    with op.batch_alter_table("tokens", schema=None) as batch_op:
        batch_op.add_column(sa.Column("user_id", sa.Integer(), nullable=True))
        batch_op.create_index(batch_op.f("ix_tokens_user_id"), ["user_id"], unique=False)
        batch_op.create_foreign_key(
            batch_op.f("fk_tokens_user_id_users"), "users", ["user_id"], ["id"], ondelete="CASCADE"
        )
    op.create_index(
        "ix_exposures_search_observation_id",
        "exposures",
        ["observation_id", "sort_mjd", "id"],
        unique=False,
    )
    sites = _audiences_of_sites()
    _objects(sites)
    _photometry()
    _notes_on_photometry()


def _accounts() -> None:
    op.create_table(
        "audiences",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=2000), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audiences")),
        sa.UniqueConstraint("key", name=op.f("uq_audiences_key")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "groups",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("nickname", sa.String(length=64), nullable=True),
        sa.Column("description", sa.String(length=1000), nullable=True),
        sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("auto_accept_requests", sa.Boolean(), nullable=False),
        sa.Column("single_user_group", sa.Boolean(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
        sa.UniqueConstraint("name", name=op.f("uq_groups_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tags",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("color", sa.String(length=16), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tags")),
        sa.UniqueConstraint("name", name=op.f("uq_tags_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "telescopes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("nickname", sa.String(length=64), nullable=False),
        sa.Column("lat", sa.Double(), nullable=True),
        sa.Column("lon", sa.Double(), nullable=True),
        sa.Column("elevation", sa.Double(), nullable=True),
        sa.Column("diameter", sa.Double(), nullable=True),
        sa.Column("skycam_link", sa.String(length=1000), nullable=True),
        sa.Column("weather_link", sa.String(length=1000), nullable=True),
        sa.Column("robotic", sa.Boolean(), nullable=False),
        sa.Column("fixed_location", sa.Boolean(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_telescopes")),
        sa.UniqueConstraint("name", name=op.f("uq_telescopes_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(length=128), nullable=False),
        sa.Column("first_name", sa.String(length=128), nullable=True),
        sa.Column("last_name", sa.String(length=128), nullable=True),
        sa.Column(
            "affiliations", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("contact_email", sa.String(length=254), nullable=True),
        sa.Column("contact_phone", sa.String(length=32), nullable=True),
        sa.Column("oauth_uid", sa.String(length=254), nullable=True),
        sa.Column("bio", sa.String(length=1000), nullable=True),
        sa.Column("is_bot", sa.Boolean(), nullable=False),
        sa.Column("password_hash", sa.String(length=256), nullable=True),
        sa.Column(
            "roles", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("acls", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "preferences", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("oauth_uid", name=op.f("uq_users_oauth_uid")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "admission_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("group_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
            name=op.f("fk_admission_requests_group_id_groups"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_admission_requests_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admission_requests")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("admission_requests", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_admission_requests_group_id"), ["group_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_admission_requests_user_id"), ["user_id"], unique=False
        )

    op.create_table(
        "audience_groups",
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("group_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"], ["audiences.id"], name=op.f("fk_audience_groups_audience_id_audiences")
        ),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
            name=op.f("fk_audience_groups_group_id_groups"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("audience_id", "group_id", name=op.f("pk_audience_groups")),
    )
    with op.batch_alter_table("audience_groups", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audience_groups_group_id"), ["group_id"], unique=False)

    op.create_table(
        "audience_sites",
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"], ["audiences.id"], name=op.f("fk_audience_sites_audience_id_audiences")
        ),
        sa.PrimaryKeyConstraint("audience_id", "site", name=op.f("pk_audience_sites")),
    )
    with op.batch_alter_table("audience_sites", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audience_sites_site"), ["site"], unique=False)

    op.create_table(
        "group_sites",
        sa.Column("group_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
            name=op.f("fk_group_sites_group_id_groups"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("group_id", "site", name=op.f("pk_group_sites")),
    )
    op.create_table(
        "instruments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("telescope_id", sa.Integer(), nullable=True),
        sa.Column("band", sa.String(length=64), nullable=True),
        sa.Column(
            "filters", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "details",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["telescope_id"], ["telescopes.id"], name=op.f("fk_instruments_telescope_id_telescopes")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instruments")),
        sa.UniqueConstraint("name", name=op.f("uq_instruments_name")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("instruments", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_instruments_telescope_id"), ["telescope_id"], unique=False
        )

    op.create_table(
        "invitations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_email", sa.String(length=254), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column(
            "groups", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("invited_by_id", sa.Integer(), nullable=True),
        sa.Column("user_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["invited_by_id"],
            ["users.id"],
            name=op.f("fk_invitations_invited_by_id_users"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_invitations_token_hash")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("invitations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_invitations_user_email"), ["user_email"], unique=False)

    op.create_table(
        "login_sessions",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_login_sessions_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_login_sessions")),
    )
    with op.batch_alter_table("login_sessions", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_login_sessions_expires_at"), ["expires_at"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_login_sessions_user_id"), ["user_id"], unique=False)

    op.create_table(
        "memberships",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("group_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("can_save", sa.Boolean(), nullable=False),
        sa.Column("can_share_photometry", sa.Boolean(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
            name=op.f("fk_memberships_group_id_groups"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_memberships_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memberships")),
        sa.UniqueConstraint("group_id", "user_id", name=op.f("uq_memberships_group_id_user_id")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("memberships", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_memberships_user_id"), ["user_id"], unique=False)

    op.create_table(
        "taxonomies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("provenance", sa.String(length=1000), nullable=True),
        sa.Column("is_latest", sa.Boolean(), nullable=False),
        sa.Column(
            "hierarchy", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"], ["audiences.id"], name=op.f("fk_taxonomies_audience_id_audiences")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_taxonomies")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_taxonomies_name_version")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "uploaded_images",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("filename", sa.String(length=256), nullable=False),
        sa.Column("key", sa.String(length=900), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column(
            "facts", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("owner_id", sa.Integer(), nullable=True),
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"], ["audiences.id"], name=op.f("fk_uploaded_images_audience_id_audiences")
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["users.id"],
            name=op.f("fk_uploaded_images_owner_id_users"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploaded_images")),
    )
    with op.batch_alter_table("uploaded_images", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_uploaded_images_sha256"), ["sha256"], unique=False)

    op.create_table(
        "user_notifications",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("text", sa.String(length=1000), nullable=False),
        sa.Column("url", sa.String(length=1000), nullable=True),
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("viewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_user_notifications_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_notifications")),
        sa.UniqueConstraint("key", name=op.f("uq_user_notifications_key")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("user_notifications", schema=None) as batch_op:
        batch_op.create_index("ix_user_notifications_user_id_id", ["user_id", "id"], unique=False)


def _notes() -> None:
    op.create_table(
        "classifications",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("taxonomy_id", sa.Integer(), nullable=False),
        sa.Column("classification", sa.String(length=128), nullable=False),
        sa.Column("probability", sa.Double(), nullable=True),
        sa.Column("ml", sa.Boolean(), nullable=False),
        sa.Column("origin", sa.String(length=128), nullable=True),
        sa.Column("author_id", sa.Integer(), nullable=False),
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"], ["audiences.id"], name=op.f("fk_classifications_audience_id_audiences")
        ),
        sa.ForeignKeyConstraint(
            ["author_id"], ["users.id"], name=op.f("fk_classifications_author_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["object_id"], ["objects.id"], name=op.f("fk_classifications_object_id_objects")
        ),
        sa.ForeignKeyConstraint(
            ["taxonomy_id"],
            ["taxonomies.id"],
            name=op.f("fk_classifications_taxonomy_id_taxonomies"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_classifications")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("classifications", schema=None) as batch_op:
        batch_op.create_index("ix_classifications_classification", ["classification"], unique=False)
        batch_op.create_index("ix_classifications_object_id_id", ["object_id", "id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_classifications_taxonomy_id"), ["taxonomy_id"], unique=False
        )

    op.create_table(
        "image_analyses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=True),
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("engine", sa.String(length=32), nullable=False),
        sa.Column(
            "parameters", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column(
            "steps", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "result",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column(
            "files", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "error",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column("provenance_id", sa.String(length=26), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("discarded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("photometry_key", sa.Uuid(), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"], ["audiences.id"], name=op.f("fk_image_analyses_audience_id_audiences")
        ),
        sa.ForeignKeyConstraint(
            ["object_id"], ["objects.id"], name=op.f("fk_image_analyses_object_id_objects")
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["users.id"],
            name=op.f("fk_image_analyses_owner_id_users"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["provenance_id"],
            ["provenances.id"],
            name=op.f("fk_image_analyses_provenance_id_provenances"),
        ),
        sa.ForeignKeyConstraint(
            ["upload_id"],
            ["uploaded_images.id"],
            name=op.f("fk_image_analyses_upload_id_uploaded_images"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_analyses")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("image_analyses", schema=None) as batch_op:
        batch_op.create_index("ix_image_analyses_object_id_id", ["object_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_image_analyses_owner_id"), ["owner_id"], unique=False)
        batch_op.create_index("ix_image_analyses_state", ["state"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_image_analyses_upload_id"), ["upload_id"], unique=False
        )

    op.create_table(
        "object_tags",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("tag_id", sa.Integer(), nullable=False),
        sa.Column("author_id", sa.Integer(), nullable=True),
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"], ["audiences.id"], name=op.f("fk_object_tags_audience_id_audiences")
        ),
        sa.ForeignKeyConstraint(
            ["author_id"],
            ["users.id"],
            name=op.f("fk_object_tags_author_id_users"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["object_id"],
            ["objects.id"],
            name=op.f("fk_object_tags_object_id_objects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tag_id"], ["tags.id"], name=op.f("fk_object_tags_tag_id_tags"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_object_tags")),
        sa.UniqueConstraint("object_id", "tag_id", name=op.f("uq_object_tags_object_id_tag_id")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("object_tags", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_object_tags_tag_id"), ["tag_id"], unique=False)

    op.create_table(
        "photometry_summaries",
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("n_points", sa.Integer(), nullable=False),
        sa.Column("n_detections", sa.Integer(), nullable=False),
        sa.Column("first_detected_mjd", sa.Double(), nullable=True),
        sa.Column("last_detected_mjd", sa.Double(), nullable=True),
        sa.Column("last_detected_mag", sa.Double(), nullable=True),
        sa.Column("last_detected_filter", sa.String(length=64), nullable=True),
        sa.Column("peak_mag", sa.Double(), nullable=True),
        sa.Column("peak_mjd", sa.Double(), nullable=True),
        sa.Column("peak_filter", sa.String(length=64), nullable=True),
        sa.Column("mean_mag", sa.Double(), nullable=True),
        sa.Column(
            "filters", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["object_id"],
            ["objects.id"],
            name=op.f("fk_photometry_summaries_object_id_objects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("object_id", name=op.f("pk_photometry_summaries")),
    )
    with op.batch_alter_table("photometry_summaries", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_photometry_summaries_last_detected_mag"),
            ["last_detected_mag"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_photometry_summaries_last_detected_mjd"),
            ["last_detected_mjd"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_photometry_summaries_mean_mag"), ["mean_mag"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_photometry_summaries_peak_mag"), ["peak_mag"], unique=False
        )
        batch_op.create_index(
            "ix_photometry_summaries_n_points", ["n_points", "object_id"], unique=False
        )

    op.create_table(
        "saved_objects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("group_id", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("requested", sa.Boolean(), nullable=False),
        sa.Column("saved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("saved_by_id", sa.Integer(), nullable=True),
        sa.Column("unsaved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("unsaved_by_id", sa.Integer(), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
            name=op.f("fk_saved_objects_group_id_groups"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["object_id"],
            ["objects.id"],
            name=op.f("fk_saved_objects_object_id_objects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["saved_by_id"],
            ["users.id"],
            name=op.f("fk_saved_objects_saved_by_id_users"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["unsaved_by_id"],
            ["users.id"],
            name=op.f("fk_saved_objects_unsaved_by_id_users"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_objects")),
        sa.UniqueConstraint(
            "object_id", "group_id", name=op.f("uq_saved_objects_object_id_group_id")
        ),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("saved_objects", schema=None) as batch_op:
        batch_op.create_index(
            "ix_saved_objects_group_id_saved_at", ["group_id", "active", "saved_at"], unique=False
        )

    op.create_table(
        "spectra",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("instrument_id", sa.Integer(), nullable=False),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wavelengths", sa.LargeBinary(), nullable=False),
        sa.Column("fluxes", sa.LargeBinary(), nullable=False),
        sa.Column("errors", sa.LargeBinary(), nullable=True),
        sa.Column("units", sa.String(length=32), nullable=True),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=256), nullable=True),
        sa.Column("origin", sa.String(length=128), nullable=True),
        sa.Column(
            "people", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "altdata",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column("original_text", sa.Text(), nullable=True),
        sa.Column("original_filename", sa.String(length=256), nullable=True),
        sa.Column("owner_id", sa.Integer(), nullable=True),
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"], ["audiences.id"], name=op.f("fk_spectra_audience_id_audiences")
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"], ["instruments.id"], name=op.f("fk_spectra_instrument_id_instruments")
        ),
        sa.ForeignKeyConstraint(
            ["object_id"], ["objects.id"], name=op.f("fk_spectra_object_id_objects")
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_spectra_owner_id_users"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_spectra")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("spectra", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_spectra_instrument_id"), ["instrument_id"], unique=False
        )
        batch_op.create_index(
            "ix_spectra_object_id_observed_at", ["object_id", "observed_at"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_spectra_observed_at"), ["observed_at"], unique=False)

    op.create_table(
        "thumbnails",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=900), nullable=False),
        sa.Column("origin", sa.String(length=128), nullable=True),
        sa.Column("survey", sa.String(length=64), nullable=True),
        sa.Column("is_grayscale", sa.Boolean(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["object_id"],
            ["objects.id"],
            name=op.f("fk_thumbnails_object_id_objects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_thumbnails")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("thumbnails", schema=None) as batch_op:
        batch_op.create_index("ix_thumbnails_object_id_type", ["object_id", "type"], unique=False)

    op.create_table(
        "classification_edits",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("classification_id", sa.Integer(), nullable=False),
        sa.Column("editor_id", sa.Integer(), nullable=True),
        sa.Column("old_probability", sa.Double(), nullable=True),
        sa.Column("new_probability", sa.Double(), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["classification_id"],
            ["classifications.id"],
            name=op.f("fk_classification_edits_classification_id_classifications"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["editor_id"],
            ["users.id"],
            name=op.f("fk_classification_edits_editor_id_users"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_classification_edits")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("classification_edits", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_classification_edits_classification_id"),
            ["classification_id"],
            unique=False,
        )

    op.create_table(
        "classification_votes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("classification_id", sa.Integer(), nullable=False),
        sa.Column("voter_id", sa.Integer(), nullable=False),
        sa.Column("vote", sa.Integer(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["classification_id"],
            ["classifications.id"],
            name=op.f("fk_classification_votes_classification_id_classifications"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["voter_id"],
            ["users.id"],
            name=op.f("fk_classification_votes_voter_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_classification_votes")),
        sa.UniqueConstraint(
            "classification_id",
            "voter_id",
            name=op.f("uq_classification_votes_classification_id_voter_id"),
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "comments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("spectrum_id", sa.Integer(), nullable=True),
        sa.Column("author_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=True),
        sa.Column("origin", sa.String(length=128), nullable=True),
        sa.Column("bot", sa.Boolean(), nullable=False),
        sa.Column("system", sa.Boolean(), nullable=False),
        sa.Column("attachment_name", sa.String(length=256), nullable=True),
        sa.Column("attachment_key", sa.String(length=900), nullable=True),
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"], ["audiences.id"], name=op.f("fk_comments_audience_id_audiences")
        ),
        sa.ForeignKeyConstraint(
            ["author_id"], ["users.id"], name=op.f("fk_comments_author_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["object_id"], ["objects.id"], name=op.f("fk_comments_object_id_objects")
        ),
        sa.ForeignKeyConstraint(
            ["spectrum_id"],
            ["spectra.id"],
            name=op.f("fk_comments_spectrum_id_spectra"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comments")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("comments", schema=None) as batch_op:
        batch_op.create_index("ix_comments_object_id_id", ["object_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_comments_spectrum_id"), ["spectrum_id"], unique=False)


def _audiences_of_sites() -> dict[str | None, int]:
    """The audience of the readers of each site that has exposures; of None, the empty one."""
    connection = op.get_bind()
    found = connection.execute(sa.text("SELECT DISTINCT site FROM exposures")).scalars().all()
    names = sorted({site for site in found if site is not None})
    audiences: dict[str | None, int] = {None: _audience([])}
    audiences |= {site: _audience([site]) for site in names}
    return audiences


def _audience(sites: list[str]) -> int:
    connection = op.get_bind()
    key = ",".join(f"s{site}" for site in sites)
    find = sa.text("SELECT id FROM audiences WHERE key = :key")
    known = connection.execute(find, {"key": key}).scalar()
    if known is not None:
        return int(known)
    connection.execute(sa.text("INSERT INTO audiences (key) VALUES (:key)"), {"key": key})
    number = int(connection.execute(find, {"key": key}).scalar_one())
    for site in sites:
        connection.execute(
            sa.text("INSERT INTO audience_sites (audience_id, site) VALUES (:number, :site)"),
            {"number": number, "site": site},
        )
    return number


def _objects(sites: dict[str | None, int]) -> None:
    """The columns of the portal; objects are seen by the readers of the sites that saw them."""
    with op.batch_alter_table("objects", schema=None) as batch_op:
        batch_op.add_column(sa.Column("ra_err", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("dec_err", sa.Double(), nullable=True))
        batch_op.add_column(
            sa.Column(
                "aliases", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
            )
        )
        batch_op.add_column(sa.Column("redshift", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("redshift_error", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("redshift_origin", sa.String(length=128), nullable=True))
        batch_op.add_column(
            sa.Column(
                "redshift_history",
                sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
                nullable=True,
            )
        )
        batch_op.add_column(sa.Column("t0", sa.Double(), nullable=True))
        batch_op.add_column(
            sa.Column(
                "details", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
            )
        )
        batch_op.add_column(sa.Column("owner_id", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("audience_id", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("modified_at", sa.DateTime(timezone=True), nullable=True))
    connection = op.get_bind()
    connection.execute(
        sa.text(
            "UPDATE objects SET aliases = '[]', redshift_history = '[]', details = '{}',"
            " modified_at = created_at, audience_id = :nobody"
        ),
        {"nobody": sites[None]},
    )
    seen: dict[object, set[str]] = defaultdict(set)
    rows = connection.execute(
        sa.text(
            "SELECT DISTINCT p.object_id, e.site FROM photometry p"
            " JOIN images i ON i.id = p.image_id JOIN exposures e ON e.id = i.exposure_id"
            " WHERE e.site IS NOT NULL"
        )
    )
    for ident, site in rows:
        seen[ident].add(site)
    for ident, names in seen.items():
        connection.execute(
            sa.text("UPDATE objects SET audience_id = :audience WHERE id = :ident"),
            {"audience": _audience(sorted(names)), "ident": ident},
        )
    with op.batch_alter_table("objects", schema=None) as batch_op:
        batch_op.alter_column(
            "aliases",
            existing_type=sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        )
        batch_op.alter_column(
            "redshift_history",
            existing_type=sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        )
        batch_op.alter_column(
            "details",
            existing_type=sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        )
        batch_op.alter_column("audience_id", existing_type=sa.Integer(), nullable=False)
        batch_op.alter_column(
            "modified_at", existing_type=sa.DateTime(timezone=True), nullable=False
        )
        batch_op.create_index(
            "ix_objects_audience_id_created_at", ["audience_id", "created_at"], unique=False
        )
        batch_op.create_index("ix_objects_created_at_id", ["created_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_objects_redshift"), ["redshift"], unique=False)
        batch_op.create_index(batch_op.f("ix_objects_ra"), ["ra"], unique=False)
        batch_op.create_index(batch_op.f("ix_objects_dec"), ["dec"], unique=False)
        batch_op.create_foreign_key(
            batch_op.f("fk_objects_audience_id_audiences"), "audiences", ["audience_id"], ["id"]
        )
        batch_op.create_foreign_key(
            batch_op.f("fk_objects_owner_id_users"),
            "users",
            ["owner_id"],
            ["id"],
            ondelete="SET NULL",
        )


def _photometry() -> None:
    """Points get a number, and need no image any more; their old id is their key."""
    connection = op.get_bind()
    now = datetime.now(UTC)
    connection.execute(
        sa.text(
            "INSERT INTO instruments (name, type, filters, created_at, modified_at)"
            " SELECT DISTINCT instrument, 'imager', :none, :now, :now FROM exposures"
        ).bindparams(
            sa.bindparam("none", [], sa.JSON().with_variant(postgresql.JSONB(), "postgresql")),
            sa.bindparam("now", now, sa.DateTime(timezone=True)),
        )
    )
    op.execute("CREATE TABLE photometry_before AS SELECT * FROM photometry")
    op.drop_table("photometry")
    op.create_table(
        "photometry",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("instrument_id", sa.Integer(), nullable=True),
        sa.Column("image_id", sa.Uuid(), nullable=True),
        sa.Column("set_id", sa.Uuid(), nullable=True),
        sa.Column("provenance_id", sa.String(length=26), nullable=True),
        sa.Column("image_analysis_id", sa.Integer(), nullable=True),
        sa.Column("upload_id", sa.Uuid(), nullable=True),
        sa.Column("owner_id", sa.Integer(), nullable=True),
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(length=128), nullable=False),
        sa.Column("mjd", sa.Double(), nullable=False),
        sa.Column("bjd_tdb", sa.Double(), nullable=True),
        sa.Column("filter", sa.String(length=64), nullable=True),
        sa.Column("flux_ujy", sa.Double(), nullable=True),
        sa.Column("flux_err_ujy", sa.Double(), nullable=True),
        sa.Column("mag", sa.Double(), nullable=True),
        sa.Column("mag_err", sa.Double(), nullable=True),
        sa.Column("mag_system", sa.String(length=16), nullable=True),
        sa.Column("limiting_mag", sa.Double(), nullable=True),
        sa.Column("limit_sigma", sa.Double(), nullable=True),
        sa.Column("reference_flux_ujy", sa.Double(), nullable=True),
        sa.Column("reference_flux_err_ujy", sa.Double(), nullable=True),
        sa.Column("rel_flux", sa.Double(), nullable=True),
        sa.Column("rel_flux_err", sa.Double(), nullable=True),
        sa.Column("ra", sa.Double(), nullable=True),
        sa.Column("dec", sa.Double(), nullable=True),
        sa.Column("ra_err", sa.Double(), nullable=True),
        sa.Column("dec_err", sa.Double(), nullable=True),
        sa.Column("x", sa.Double(), nullable=True),
        sa.Column("y", sa.Double(), nullable=True),
        sa.Column("airmass", sa.Double(), nullable=True),
        sa.Column("flags", sa.Integer(), nullable=False),
        sa.Column(
            "altdata",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column(
            "original",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"], ["audiences.id"], name=op.f("fk_photometry_audience_id_audiences")
        ),
        sa.ForeignKeyConstraint(
            ["image_analysis_id"],
            ["image_analyses.id"],
            name=op.f("fk_photometry_image_analysis_id_image_analyses"),
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_photometry_image_id_images")
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["instruments.id"],
            name=op.f("fk_photometry_instrument_id_instruments"),
        ),
        sa.ForeignKeyConstraint(
            ["object_id"], ["objects.id"], name=op.f("fk_photometry_object_id_objects")
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["users.id"],
            name=op.f("fk_photometry_owner_id_users"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["provenance_id"],
            ["provenances.id"],
            name=op.f("fk_photometry_provenance_id_provenances"),
        ),
        sa.ForeignKeyConstraint(
            ["set_id"], ["light_curve_sets.id"], name=op.f("fk_photometry_set_id_light_curve_sets")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photometry")),
        sa.UniqueConstraint("key", name=op.f("uq_photometry_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_photometry_image_id"), "photometry", ["image_id"], unique=False)
    op.create_index(
        "ix_photometry_instrument_id_mjd", "photometry", ["instrument_id", "mjd"], unique=False
    )
    op.create_index(
        op.f("ix_photometry_image_analysis_id"), "photometry", ["image_analysis_id"], unique=False
    )
    op.create_index("ix_photometry_object_mjd", "photometry", ["object_id", "mjd"], unique=False)
    op.create_index(op.f("ix_photometry_set_id"), "photometry", ["set_id"], unique=False)
    op.create_index(op.f("ix_photometry_upload_id"), "photometry", ["upload_id"], unique=False)
    kept = (
        "object_id, image_id, set_id, provenance_id, mjd, bjd_tdb, filter, flux_ujy, flux_err_ujy,"
        " mag, mag_err, mag_system, rel_flux, rel_flux_err, x, y, airmass, flags"
    )
    theirs = ", ".join(f"p.{name.strip()}" for name in kept.split(","))
    connection.execute(
        sa.text(
            f"INSERT INTO photometry (key, {kept}, origin, instrument_id, audience_id,"  # noqa: S608, names of columns from above
            " created_at, modified_at)"
            f" SELECT p.id, {theirs}, '', r.id, a.id, s.created_at, s.created_at"
            " FROM photometry_before p JOIN light_curve_sets s ON s.id = p.set_id"
            " JOIN images i ON i.id = p.image_id JOIN exposures e ON e.id = i.exposure_id"
            " JOIN instruments r ON r.name = e.instrument"
            " JOIN audiences a ON a.key = CASE WHEN e.site IS NULL THEN ''"
            " ELSE 's' || e.site END"
            " ORDER BY p.object_id, p.mjd"
        )
    )
    op.drop_table("photometry_before")


def _notes_on_photometry() -> None:
    op.create_table(
        "annotations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("spectrum_id", sa.Integer(), nullable=True),
        sa.Column(
            "photometry_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("origin", sa.String(length=128), nullable=False),
        sa.Column("data", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("author_id", sa.Integer(), nullable=False),
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"], ["audiences.id"], name=op.f("fk_annotations_audience_id_audiences")
        ),
        sa.ForeignKeyConstraint(
            ["author_id"], ["users.id"], name=op.f("fk_annotations_author_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["object_id"], ["objects.id"], name=op.f("fk_annotations_object_id_objects")
        ),
        sa.ForeignKeyConstraint(
            ["photometry_id"],
            ["photometry.id"],
            name=op.f("fk_annotations_photometry_id_photometry"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["spectrum_id"],
            ["spectra.id"],
            name=op.f("fk_annotations_spectrum_id_spectra"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotations")),
        sa.UniqueConstraint(
            "object_id", "subject", "origin", name=op.f("uq_annotations_object_id_subject_origin")
        ),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("annotations", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_annotations_photometry_id"), ["photometry_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_annotations_spectrum_id"), ["spectrum_id"], unique=False
        )

    op.create_table(
        "photometry_validations",
        sa.Column(
            "photometry_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("validated", sa.Boolean(), nullable=True),
        sa.Column("explanation", sa.String(length=1000), nullable=True),
        sa.Column("notes", sa.String(length=2000), nullable=True),
        sa.Column("validator_id", sa.Integer(), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["photometry_id"],
            ["photometry.id"],
            name=op.f("fk_photometry_validations_photometry_id_photometry"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["validator_id"],
            ["users.id"],
            name=op.f("fk_photometry_validations_validator_id_users"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("photometry_id", name=op.f("pk_photometry_validations")),
    )


def downgrade() -> None:
    raise NotImplementedError("points without an image have no place in the older tables")
