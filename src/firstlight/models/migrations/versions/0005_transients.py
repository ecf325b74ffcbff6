"""References, what changed since, and how good images are."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


_PLACE = ["hpx", "audience_id", "id", "ra", "dec"]
_CLASS = ["object_id", "classification", "audience_id", "author_id"]


def upgrade() -> None:
    op.drop_index("ix_objects_hpx", "objects")
    op.create_index("ix_objects_hpx", "objects", _PLACE)
    op.create_index("ix_classifications_object_id_classification", "classifications", _CLASS)
    op.create_table(
        "badness_marks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("exposure_id", sa.Uuid(), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=True),
        sa.Column("badness", sa.Integer(), nullable=False),
        sa.Column("note", sa.String(length=2000), nullable=True),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["exposure_id"], ["exposures.id"], name=op.f("fk_badness_marks_exposure_id_exposures")
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_badness_marks_image_id_images")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_badness_marks_user_id_users"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_badness_marks")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("badness_marks", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_badness_marks_exposure_id"), ["exposure_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_badness_marks_image_id"), ["image_id"], unique=False)

    op.create_table(
        "cutouts",
        sa.Column("difference_id", sa.Uuid(), nullable=False),
        sa.Column("n_candidates", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("filename", sa.String(length=512), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provenance_id", sa.String(length=26), nullable=False),
        sa.Column("software_id", sa.String(length=26), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["difference_id"], ["images.id"], name=op.f("fk_cutouts_difference_id_images")
        ),
        sa.ForeignKeyConstraint(
            ["provenance_id"], ["provenances.id"], name=op.f("fk_cutouts_provenance_id_provenances")
        ),
        sa.ForeignKeyConstraint(
            ["software_id"], ["software.id"], name=op.f("fk_cutouts_software_id_software")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cutouts")),
        sa.UniqueConstraint("filename", name=op.f("uq_cutouts_filename")),
    )
    with op.batch_alter_table("cutouts", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_cutouts_difference_id"), ["difference_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_cutouts_provenance_id"), ["provenance_id"], unique=False
        )

    op.create_table(
        "followed_objects",
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("is_complete", sa.Boolean(), nullable=False),
        sa.Column("is_summarised", sa.Boolean(), nullable=False),
        sa.Column("ra", sa.Double(), nullable=True),
        sa.Column("dec", sa.Double(), nullable=True),
        sa.Column("hpx", sa.BigInteger(), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["object_id"],
            ["objects.id"],
            name=op.f("fk_followed_objects_object_id_objects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("object_id", name=op.f("pk_followed_objects")),
    )
    with op.batch_alter_table("followed_objects", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_followed_objects_hpx"), ["hpx"], unique=False)
        batch_op.create_index(
            "ix_followed_objects_is_complete", ["is_complete", "hpx"], unique=False
        )
        batch_op.create_index(
            "ix_followed_objects_is_summarised", ["is_summarised", "hpx"], unique=False
        )

    op.create_table(
        "forced_runs",
        sa.Column("exposure_id", sa.Uuid(), nullable=False),
        sa.Column("section_id", sa.String(length=32), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("difference_id", sa.Uuid(), nullable=False),
        sa.Column("zero_point_id", sa.Uuid(), nullable=True),
        sa.Column("provenance_id", sa.String(length=26), nullable=False),
        sa.Column("n_objects", sa.Integer(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["difference_id"], ["images.id"], name=op.f("fk_forced_runs_difference_id_images")
        ),
        sa.ForeignKeyConstraint(
            ["exposure_id"], ["exposures.id"], name=op.f("fk_forced_runs_exposure_id_exposures")
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_forced_runs_image_id_images")
        ),
        sa.ForeignKeyConstraint(
            ["provenance_id"],
            ["provenances.id"],
            name=op.f("fk_forced_runs_provenance_id_provenances"),
        ),
        sa.ForeignKeyConstraint(
            ["zero_point_id"],
            ["zero_points.id"],
            name=op.f("fk_forced_runs_zero_point_id_zero_points"),
        ),
        sa.PrimaryKeyConstraint("exposure_id", "section_id", name=op.f("pk_forced_runs")),
    )
    with op.batch_alter_table("forced_runs", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_forced_runs_difference_id"), ["difference_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_forced_runs_image_id"), ["image_id"], unique=False)

    with op.batch_alter_table("world_coordinates", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_world_coordinates_radius"), ["radius"], unique=False)

    op.create_table(
        "quality_reports",
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("exposure_id", sa.Uuid(), nullable=False),
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("mjd", sa.Double(), nullable=False),
        sa.Column("seeing", sa.Double(), nullable=True),
        sa.Column("limiting_magnitude", sa.Double(), nullable=True),
        sa.Column("sky", sa.Double(), nullable=True),
        sa.Column("noise_ratio", sa.Double(), nullable=True),
        sa.Column("astrometric_rms", sa.Double(), nullable=True),
        sa.Column("zero_point", sa.Double(), nullable=True),
        sa.Column("score_width", sa.Double(), nullable=True),
        sa.Column("n_sources", sa.Integer(), nullable=True),
        sa.Column("n_candidates", sa.Integer(), nullable=True),
        sa.Column("n_kept", sa.Integer(), nullable=True),
        sa.Column("badness", sa.Integer(), nullable=False),
        sa.Column(
            "details", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"], ["audiences.id"], name=op.f("fk_quality_reports_audience_id_audiences")
        ),
        sa.ForeignKeyConstraint(
            ["exposure_id"], ["exposures.id"], name=op.f("fk_quality_reports_exposure_id_exposures")
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_quality_reports_image_id_images")
        ),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_quality_reports")),
    )
    with op.batch_alter_table("quality_reports", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_quality_reports_audience_id"), ["audience_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_quality_reports_exposure_id"), ["exposure_id"], unique=False
        )
        batch_op.create_index("ix_quality_reports_mjd_image_id", ["mjd", "image_id"], unique=False)

    op.create_table(
        "psfs",
        sa.Column("sources_id", sa.Uuid(), nullable=False),
        sa.Column("fwhm", sa.Double(), nullable=False),
        sa.Column("n_stars", sa.Integer(), nullable=False),
        sa.Column("varies", sa.Boolean(), nullable=False),
        sa.Column("filename", sa.String(length=512), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provenance_id", sa.String(length=26), nullable=False),
        sa.Column("software_id", sa.String(length=26), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["provenance_id"], ["provenances.id"], name=op.f("fk_psfs_provenance_id_provenances")
        ),
        sa.ForeignKeyConstraint(
            ["software_id"], ["software.id"], name=op.f("fk_psfs_software_id_software")
        ),
        sa.ForeignKeyConstraint(
            ["sources_id"], ["source_lists.id"], name=op.f("fk_psfs_sources_id_source_lists")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_psfs")),
        sa.UniqueConstraint("filename", name=op.f("uq_psfs_filename")),
    )
    with op.batch_alter_table("psfs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_psfs_provenance_id"), ["provenance_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_psfs_sources_id"), ["sources_id"], unique=False)

    op.create_table(
        "sky_references",
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("sources_id", sa.Uuid(), nullable=False),
        sa.Column("psf_id", sa.Uuid(), nullable=False),
        sa.Column("wcs_id", sa.Uuid(), nullable=False),
        sa.Column("zero_point_id", sa.Uuid(), nullable=True),
        sa.Column("field", sa.String(length=128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("instrument", sa.String(length=64), nullable=False),
        sa.Column("section_id", sa.String(length=32), nullable=False),
        sa.Column("filter", sa.String(length=64), nullable=True),
        sa.Column("mjd_start", sa.Double(), nullable=False),
        sa.Column("mjd_end", sa.Double(), nullable=False),
        sa.Column("n_images", sa.Integer(), nullable=False),
        sa.Column("fwhm", sa.Double(), nullable=False),
        sa.Column("seeing", sa.Double(), nullable=True),
        sa.Column("limiting_magnitude", sa.Double(), nullable=True),
        sa.Column(
            "corners", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("radius", sa.Double(), nullable=False),
        sa.Column("method", sa.String(length=32), nullable=False),
        sa.Column("usable", sa.Boolean(), nullable=False),
        sa.Column(
            "measures", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("ra", sa.Double(), nullable=True),
        sa.Column("dec", sa.Double(), nullable=True),
        sa.Column("hpx", sa.BigInteger(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provenance_id", sa.String(length=26), nullable=False),
        sa.Column("software_id", sa.String(length=26), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_sky_references_image_id_images")
        ),
        sa.ForeignKeyConstraint(
            ["provenance_id"],
            ["provenances.id"],
            name=op.f("fk_sky_references_provenance_id_provenances"),
        ),
        sa.ForeignKeyConstraint(
            ["psf_id"], ["psfs.id"], name=op.f("fk_sky_references_psf_id_psfs")
        ),
        sa.ForeignKeyConstraint(
            ["software_id"], ["software.id"], name=op.f("fk_sky_references_software_id_software")
        ),
        sa.ForeignKeyConstraint(
            ["sources_id"],
            ["source_lists.id"],
            name=op.f("fk_sky_references_sources_id_source_lists"),
        ),
        sa.ForeignKeyConstraint(
            ["wcs_id"],
            ["world_coordinates.id"],
            name=op.f("fk_sky_references_wcs_id_world_coordinates"),
        ),
        sa.ForeignKeyConstraint(
            ["zero_point_id"],
            ["zero_points.id"],
            name=op.f("fk_sky_references_zero_point_id_zero_points"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sky_references")),
    )
    with op.batch_alter_table("sky_references", schema=None) as batch_op:
        batch_op.create_index(
            "ix_sky_references_choice", ["instrument", "filter", "mjd_end"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_sky_references_field"), ["field"], unique=False)
        batch_op.create_index(batch_op.f("ix_sky_references_hpx"), ["hpx"], unique=False)
        batch_op.create_index(batch_op.f("ix_sky_references_image_id"), ["image_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_sky_references_provenance_id"), ["provenance_id"], unique=False
        )

    op.create_table(
        "fake_sets",
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("reference_id", sa.Uuid(), nullable=False),
        sa.Column("n_fakes", sa.Integer(), nullable=False),
        sa.Column("n_found", sa.Integer(), nullable=False),
        sa.Column("limiting_magnitude", sa.Double(), nullable=True),
        sa.Column("flux_bias", sa.Double(), nullable=True),
        sa.Column(
            "summary", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("filename", sa.String(length=512), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provenance_id", sa.String(length=26), nullable=False),
        sa.Column("software_id", sa.String(length=26), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_fake_sets_image_id_images")
        ),
        sa.ForeignKeyConstraint(
            ["provenance_id"],
            ["provenances.id"],
            name=op.f("fk_fake_sets_provenance_id_provenances"),
        ),
        sa.ForeignKeyConstraint(
            ["reference_id"],
            ["sky_references.id"],
            name=op.f("fk_fake_sets_reference_id_sky_references"),
        ),
        sa.ForeignKeyConstraint(
            ["software_id"], ["software.id"], name=op.f("fk_fake_sets_software_id_software")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fake_sets")),
        sa.UniqueConstraint("filename", name=op.f("uq_fake_sets_filename")),
    )
    with op.batch_alter_table("fake_sets", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_fake_sets_image_id"), ["image_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_fake_sets_provenance_id"), ["provenance_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_fake_sets_reference_id"), ["reference_id"], unique=False
        )

    op.create_table(
        "measurement_sets",
        sa.Column("cutouts_id", sa.Uuid(), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("difference_id", sa.Uuid(), nullable=False),
        sa.Column("reference_id", sa.Uuid(), nullable=False),
        sa.Column("n_candidates", sa.Integer(), nullable=False),
        sa.Column("n_kept", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provenance_id", sa.String(length=26), nullable=False),
        sa.Column("software_id", sa.String(length=26), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["cutouts_id"], ["cutouts.id"], name=op.f("fk_measurement_sets_cutouts_id_cutouts")
        ),
        sa.ForeignKeyConstraint(
            ["difference_id"], ["images.id"], name=op.f("fk_measurement_sets_difference_id_images")
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_measurement_sets_image_id_images")
        ),
        sa.ForeignKeyConstraint(
            ["provenance_id"],
            ["provenances.id"],
            name=op.f("fk_measurement_sets_provenance_id_provenances"),
        ),
        sa.ForeignKeyConstraint(
            ["reference_id"],
            ["sky_references.id"],
            name=op.f("fk_measurement_sets_reference_id_sky_references"),
        ),
        sa.ForeignKeyConstraint(
            ["software_id"], ["software.id"], name=op.f("fk_measurement_sets_software_id_software")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_measurement_sets")),
    )
    with op.batch_alter_table("measurement_sets", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_measurement_sets_cutouts_id"), ["cutouts_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_measurement_sets_difference_id"), ["difference_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_measurement_sets_image_id"), ["image_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_measurement_sets_provenance_id"), ["provenance_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_measurement_sets_reference_id"), ["reference_id"], unique=False
        )

    op.create_table(
        "measurements",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("set_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=True),
        sa.Column("audience_id", sa.Integer(), nullable=False),
        sa.Column("mjd", sa.Double(), nullable=False),
        sa.Column("filter", sa.String(length=64), nullable=True),
        sa.Column("x", sa.Double(), nullable=False),
        sa.Column("y", sa.Double(), nullable=False),
        sa.Column("position_err", sa.Double(), nullable=True),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("flux", sa.Double(), nullable=False),
        sa.Column("flux_err", sa.Double(), nullable=False),
        sa.Column("flux_ujy", sa.Double(), nullable=True),
        sa.Column("flux_err_ujy", sa.Double(), nullable=True),
        sa.Column("mag", sa.Double(), nullable=True),
        sa.Column("mag_err", sa.Double(), nullable=True),
        sa.Column("real", sa.Double(), nullable=False),
        sa.Column("is_kept", sa.Boolean(), nullable=False),
        sa.Column(
            "why_not", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("known_as", sa.String(length=128), nullable=True),
        sa.Column("flags", sa.Integer(), nullable=False),
        sa.Column(
            "measures", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("ra", sa.Double(), nullable=True),
        sa.Column("dec", sa.Double(), nullable=True),
        sa.Column("hpx", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"], ["audiences.id"], name=op.f("fk_measurements_audience_id_audiences")
        ),
        sa.ForeignKeyConstraint(
            ["object_id"], ["objects.id"], name=op.f("fk_measurements_object_id_objects")
        ),
        sa.ForeignKeyConstraint(
            ["set_id"],
            ["measurement_sets.id"],
            name=op.f("fk_measurements_set_id_measurement_sets"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_measurements")),
        sa.UniqueConstraint("set_id", "number", name=op.f("uq_measurements_set_id_number")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("measurements", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_measurements_audience_id"), ["audience_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_measurements_hpx"), ["hpx"], unique=False)
        batch_op.create_index("ix_measurements_is_kept_mjd", ["is_kept", "mjd"], unique=False)
        batch_op.create_index("ix_measurements_object_id_mjd", ["object_id", "mjd"], unique=False)

    op.create_table(
        "alerts",
        sa.Column(
            "measurement_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.String(length=128), nullable=False),
        sa.Column("filename", sa.String(length=512), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["measurement_id"],
            ["measurements.id"],
            name=op.f("fk_alerts_measurement_id_measurements"),
        ),
        sa.ForeignKeyConstraint(
            ["object_id"], ["objects.id"], name=op.f("fk_alerts_object_id_objects")
        ),
        sa.PrimaryKeyConstraint("measurement_id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("filename", name=op.f("uq_alerts_filename")),
    )
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_alerts_object_id"), ["object_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_alerts_sent_at"), ["sent_at"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_classifications_object_id_classification", "classifications")
    op.drop_index("ix_objects_hpx", "objects")
    op.create_index("ix_objects_hpx", "objects", ["hpx"])
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alerts_sent_at"))
        batch_op.drop_index(batch_op.f("ix_alerts_object_id"))

    op.drop_table("alerts")
    with op.batch_alter_table("measurements", schema=None) as batch_op:
        batch_op.drop_index("ix_measurements_object_id_mjd")
        batch_op.drop_index("ix_measurements_is_kept_mjd")
        batch_op.drop_index(batch_op.f("ix_measurements_hpx"))
        batch_op.drop_index(batch_op.f("ix_measurements_audience_id"))

    op.drop_table("measurements")
    with op.batch_alter_table("measurement_sets", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_measurement_sets_reference_id"))
        batch_op.drop_index(batch_op.f("ix_measurement_sets_provenance_id"))
        batch_op.drop_index(batch_op.f("ix_measurement_sets_image_id"))
        batch_op.drop_index(batch_op.f("ix_measurement_sets_difference_id"))
        batch_op.drop_index(batch_op.f("ix_measurement_sets_cutouts_id"))

    op.drop_table("measurement_sets")
    with op.batch_alter_table("fake_sets", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_fake_sets_reference_id"))
        batch_op.drop_index(batch_op.f("ix_fake_sets_provenance_id"))
        batch_op.drop_index(batch_op.f("ix_fake_sets_image_id"))

    op.drop_table("fake_sets")
    with op.batch_alter_table("sky_references", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sky_references_provenance_id"))
        batch_op.drop_index(batch_op.f("ix_sky_references_image_id"))
        batch_op.drop_index(batch_op.f("ix_sky_references_hpx"))
        batch_op.drop_index(batch_op.f("ix_sky_references_field"))
        batch_op.drop_index("ix_sky_references_choice")

    op.drop_table("sky_references")
    with op.batch_alter_table("psfs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_psfs_sources_id"))
        batch_op.drop_index(batch_op.f("ix_psfs_provenance_id"))

    op.drop_table("psfs")
    with op.batch_alter_table("quality_reports", schema=None) as batch_op:
        batch_op.drop_index("ix_quality_reports_mjd_image_id")
        batch_op.drop_index(batch_op.f("ix_quality_reports_exposure_id"))
        batch_op.drop_index(batch_op.f("ix_quality_reports_audience_id"))

    op.drop_table("quality_reports")
    with op.batch_alter_table("world_coordinates", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_world_coordinates_radius"))

    with op.batch_alter_table("forced_runs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_forced_runs_image_id"))
        batch_op.drop_index(batch_op.f("ix_forced_runs_difference_id"))

    op.drop_table("forced_runs")
    with op.batch_alter_table("followed_objects", schema=None) as batch_op:
        batch_op.drop_index("ix_followed_objects_is_summarised")
        batch_op.drop_index("ix_followed_objects_is_complete")
        batch_op.drop_index(batch_op.f("ix_followed_objects_hpx"))

    op.drop_table("followed_objects")
    with op.batch_alter_table("cutouts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_cutouts_provenance_id"))
        batch_op.drop_index(batch_op.f("ix_cutouts_difference_id"))

    op.drop_table("cutouts")
    with op.batch_alter_table("badness_marks", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_badness_marks_image_id"))
        batch_op.drop_index(batch_op.f("ix_badness_marks_exposure_id"))

    op.drop_table("badness_marks")
