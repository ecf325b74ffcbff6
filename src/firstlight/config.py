"""Settings of a workspace: `firstlight.toml`, then the environment (``FIRSTLIGHT_*``)."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from firstlight.catalogs.catalog_settings import CatalogSettings
from firstlight.errors import BadSettings, MissingError
from firstlight.pipeline.settings import RecipeSettings
from firstlight.remotes.settings import OutgoingSettings
from firstlight.services.accounts.settings import AccountSettings
from firstlight.services.alerts.settings import AlertSettings
from firstlight.services.analyses.analysis_settings import AnalysisSettings
from firstlight.services.colour_settings import ColourPictureSettings, StampLightCurveSettings
from firstlight.services.expiry.expiration_rules import ExpirationSettings
from firstlight.services.expiry.lifecycle_settings import LifecycleSettings
from firstlight.services.image_analysis.image_analysis_limits import ImageAnalysisLimits
from firstlight.services.intake.archive_settings import ArchiveSettings
from firstlight.services.intake.source_settings import SourceSettings, UploadSettings
from firstlight.services.objects.comment_settings import CommentSettings
from firstlight.services.objects.photometry_settings import PhotometrySettings
from firstlight.services.quality.settings import QualitySettings
from firstlight.services.references.settings import ReferenceChoiceSettings
from firstlight.services.settings import (
    CalibrationSettings,
    ImageFileSettings,
    LightCurveSettings,
    ReduceSettings,
)
from firstlight.services.transients.settings import TransientSettings
from firstlight.services.watching.notification_settings import NotificationSettings
from firstlight.services.web_settings import WebSettings
from firstlight.storage import StorageSettings

__all__ = [
    "FILE_NAME",
    "Settings",
    "load_settings",
    "set_up_instruments",
    "settings_template",
]

FILE_NAME = "firstlight.toml"
DEFAULT_DATABASE = "sqlite:///firstlight.sqlite"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DatabaseSettings(_Section):
    """Where the tables are."""

    url: str = DEFAULT_DATABASE
    """SQLAlchemy URL; a relative SQLite path is relative to the workspace."""


class PathSettings(_Section):
    """Roots of the data folders."""

    data_root: str = "data"
    """Local root; relative to the workspace."""
    server_data: str | None = None
    """Folder on a server, from which missing files are fetched."""
    cameras: str = "cameras"
    """Folder of camera files and their tables; relative to the workspace. It need not be there."""


class StorageSection(StorageSettings):
    """Where bytes are kept, and how images are written."""

    images: ImageFileSettings = ImageFileSettings()


class Settings(BaseSettings):
    """Everything that can be set. Unknown keys are errors."""

    model_config = SettingsConfigDict(
        env_prefix="FIRSTLIGHT_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    database: DatabaseSettings = DatabaseSettings()
    path: PathSettings = PathSettings()
    storage: StorageSection = StorageSection()
    catalogs: CatalogSettings = CatalogSettings()
    instruments: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Overrides by instrument: gain, read_noise, saturation_limit, pixel_scale."""
    calibration: CalibrationSettings = CalibrationSettings()
    recipe: RecipeSettings = RecipeSettings()
    light_curves: LightCurveSettings = LightCurveSettings()
    references: ReferenceChoiceSettings = ReferenceChoiceSettings()
    transients: TransientSettings = TransientSettings()
    alerts: AlertSettings = AlertSettings()
    quality: QualitySettings = QualitySettings()
    reduce: ReduceSettings = ReduceSettings()
    archive: ArchiveSettings = ArchiveSettings()
    sources: SourceSettings = SourceSettings()
    expiration: ExpirationSettings = ExpirationSettings()
    lifecycle: LifecycleSettings = LifecycleSettings()
    uploads: UploadSettings = UploadSettings()
    colour_pictures: ColourPictureSettings = ColourPictureSettings()
    stamp_light_curves: StampLightCurveSettings = StampLightCurveSettings()
    notifications: NotificationSettings = NotificationSettings()
    outgoing: OutgoingSettings = OutgoingSettings()
    accounts: AccountSettings = AccountSettings()
    comments: CommentSettings = CommentSettings()
    photometry: PhotometrySettings = PhotometrySettings()
    image_analysis: ImageAnalysisLimits = ImageAnalysisLimits()
    analyses: AnalysisSettings = AnalysisSettings()
    web: WebSettings = WebSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def load_settings(workspace: Path) -> Settings:
    """Read the settings of a workspace.

    Raises
    ------
    MissingError
        The folder is not a workspace.
    BadSettings
        The file is not TOML, or a key or value is wrong; names the key and the nearest known.
    """
    path = workspace / FILE_NAME
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as fault:
        raise MissingError(
            "this folder is not a workspace",
            subject=workspace,
            expected=f"a file {FILE_NAME} in it",
            hint=f"firstlight init {workspace}",
        ) from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise BadSettings(f"not a TOML file: {fault}", subject=path) from fault
    try:
        return Settings(**values)
    except ValidationError as fault:
        raise _explain(fault, path) from fault


def set_up_instruments(workspace: Path, settings: Settings) -> None:
    """Make the workspace's own cameras known, and set what its settings say of instruments.

    Raises
    ------
    BadCamera
        A camera file, or a table of it, is wrong.
    UnknownInstrument, BadSettings
        The settings name an instrument or a property that there is not.
    """
    from firstlight.instruments import configure_instrument, load_cameras  # noqa: PLC0415, slow

    load_cameras(workspace / settings.path.cameras)
    for name, properties in settings.instruments.items():
        configure_instrument(name, **properties)


def settings_template(database_url: str | None = None) -> str:
    """The text of a new workspace's settings file."""
    return f"""\
# Settings of this workspace; every key may also be set by the environment,
# for example FIRSTLIGHT_DATABASE__URL. See the page "Settings" of the documentation.

[database]
url = "{database_url or DEFAULT_DATABASE}"

[path]
data_root = "data"
"""


def _explain(fault: ValidationError, path: Path) -> BadSettings:
    first = fault.errors()[0]
    keys = [str(part) for part in first["loc"]]
    name = ".".join(keys)
    if first["type"] != "extra_forbidden":
        return BadSettings(
            str(first["msg"]), subject=path, field=name, found=repr(first.get("input"))
        )
    known = _known_keys(Settings, keys[:-1])
    near = difflib.get_close_matches(keys[-1], known, n=1, cutoff=0.4)
    return BadSettings(
        "there is no such setting",
        subject=path,
        field=name,
        expected="one of " + ", ".join(known),
        hint=f"did you mean {'.'.join([*keys[:-1], near[0]])}?" if near else None,
    )


def _known_keys(model: type[BaseModel], keys: list[str]) -> list[str]:
    here: Any = model
    for key in keys:
        fields = getattr(here, "model_fields", None)
        if fields is None:
            # A table of tables, such as [catalogs.local.NAME]: any name, then the keys of one.
            here = next(iter(get_args(here)[1:]), None)
        else:
            here = fields[key].annotation if key in fields else None
    return sorted(getattr(here, "model_fields", {}))
