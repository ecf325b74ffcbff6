"""Settings: the file, the environment before it, and what is refused."""

import importlib.util
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from firstlight.config import FILE_NAME, Settings, load_settings, settings_template
from firstlight.errors import BadSettings, MissingError

ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location(
    "document_settings", ROOT / "tools" / "document_settings.py"
)
document_settings = importlib.util.module_from_spec(spec)
sys.modules["document_settings"] = document_settings
spec.loader.exec_module(document_settings)


def _models(model: type[BaseModel], seen: set[type[BaseModel]]):
    if model in seen:
        return
    seen.add(model)
    yield model
    for field in model.model_fields.values():
        below = document_settings._model_within(field.annotation)
        if below is not None:
            yield from _models(below, seen)


MODELS = list(_models(Settings, set()))


@pytest.fixture
def workspace(tmp_path):
    def write(text: str) -> Path:
        (tmp_path / FILE_NAME).write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_the_page_of_settings_is_that_of_the_code():
    page = document_settings.PAGE.read_text(encoding="utf-8")
    assert page == document_settings.page(), "run: python tools/document_settings.py"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_has_a_meaning(model):
    meanings = document_settings.meanings(model)
    below = {
        key
        for key, field in model.model_fields.items()
        if document_settings._model_within(field.annotation) is not None
    }
    assert [key for key, meaning in meanings.items() if not meaning and key not in below] == []


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_no_model_lets_an_unknown_key_pass(model):
    assert model.model_config.get("extra") == "forbid"


def test_the_example_of_the_page_is_accepted(workspace):
    example = document_settings.PAGE.read_text().split("```toml\n")[1].split("```")[0]
    settings = load_settings(workspace(example))
    assert settings.recipe.find_sources.threshold == 5.0
    assert settings.instruments == {"GenericFITS": {"gain": 0.4}}
    assert settings.catalogs.photometry == "refcat2"


def test_a_new_workspace_has_the_defaults(workspace, monkeypatch):
    for name in ("FIRSTLIGHT_DATABASE__URL", "FIRSTLIGHT_PATH__DATA_ROOT"):
        monkeypatch.delenv(name, raising=False)
    settings = load_settings(workspace(settings_template()))
    assert settings == Settings()
    assert settings.database.url == "sqlite:///firstlight.sqlite"


def test_a_new_workspace_on_a_server(workspace):
    url = "postgresql+psycopg://me@db/night"
    assert load_settings(workspace(settings_template(url))).database.url == url


@given(url=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
def test_the_template_is_toml_for_any_url_without_quotes(url):
    url = url.replace('"', "").replace("\\", "")
    read = tomllib.loads(settings_template(url))
    assert read["database"]["url"] == (url or "sqlite:///firstlight.sqlite")


def test_the_environment_goes_before_the_file(workspace, monkeypatch):
    monkeypatch.setenv("FIRSTLIGHT_RECIPE__FIND_SOURCES__THRESHOLD", "7")
    monkeypatch.setenv("FIRSTLIGHT_REDUCE__WORKERS", "3")
    text = "[recipe.find_sources]\nthreshold = 5.0\nmax_sources = 11\n"
    settings = load_settings(workspace(text))
    assert settings.recipe.find_sources.threshold == 7.0
    assert settings.recipe.find_sources.max_sources == 11, "the rest of the table stays"
    assert settings.reduce.workers == 3


def test_other_variables_of_ours_are_no_settings(workspace, monkeypatch):
    monkeypatch.setenv("FIRSTLIGHT_SAMPLES", "/somewhere")
    monkeypatch.setenv("FIRSTLIGHT_WORKSPACE", "night")
    load_settings(workspace(""))


def test_a_wrong_value_in_the_environment_is_told(workspace, monkeypatch):
    monkeypatch.setenv("FIRSTLIGHT_RECIPE__FIND_SOURCES__THRESHOLD", "deep")
    with pytest.raises(BadSettings) as caught:
        load_settings(workspace(""))
    assert caught.value.field == "recipe.find_sources.threshold"
    assert caught.value.found == "'deep'"


@pytest.mark.parametrize(
    ("text", "field", "hint"),
    [
        ("[recipe.find_sources]\ntreshold = 5", "recipe.find_sources.treshold", "threshold"),
        ("[recipe.find_source]\nthreshold = 5", "recipe.find_source", "recipe.find_sources"),
        ("[databse]\nurl = 'x'", "databse", "did you mean database"),
        ("[storage.images]\nformt = 'fits'", "storage.images.formt", "storage.images.format"),
        ("[light_curves]\ncoverage = 0.5", "light_curves.coverage", "light_curves.min_coverage"),
    ],
)
def test_an_unknown_key_names_the_nearest(workspace, text, field, hint):
    with pytest.raises(BadSettings) as caught:
        load_settings(workspace(text))
    fault = caught.value
    assert fault.field == field
    assert hint in fault.hint
    assert fault.subject.endswith(FILE_NAME)


def test_a_key_like_no_other_lists_those_there_are(workspace):
    with pytest.raises(BadSettings) as caught:
        load_settings(workspace("[reduce]\nzzzz = 1"))
    assert caught.value.hint is None
    assert caught.value.expected == "one of timeout_s, workers"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[recipe.find_sources]\nthreshold = -1", "recipe.find_sources.threshold"),
        ("[recipe.find_sources]\nthreshold = 'high'", "recipe.find_sources.threshold"),
        ("[storage.images]\nformat = 'tiff'", "storage.images.format"),
        ("[light_curves]\nmin_coverage = 1.5", "light_curves.min_coverage"),
        ("[calibration]\nmin_sky_frames = 3", "calibration.min_sky_frames"),
        ("[instruments.Cam]\ngain = 'much'", "instruments.Cam.gain"),
        ("recipe = 3", "recipe"),
    ],
)
def test_a_wrong_value_is_named(workspace, text, field):
    with pytest.raises(BadSettings) as caught:
        load_settings(workspace(text))
    assert caught.value.field == field
    assert caught.value.found is not None


@pytest.mark.parametrize("content", [b"[reduce\n", b"workers = \n", b"\xff\xfe\x00"])
def test_what_is_not_toml_is_told(tmp_path, content):
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(BadSettings, match="not a TOML file"):
        load_settings(tmp_path)


def test_a_folder_without_settings_is_no_workspace(tmp_path):
    with pytest.raises(MissingError, match="not a workspace") as caught:
        load_settings(tmp_path / "nowhere")
    assert "firstlight init" in caught.value.hint


def test_secrets_are_not_shown(workspace, monkeypatch):
    monkeypatch.setenv("FIRSTLIGHT_STORAGE__SECRET_ACCESS_KEY", "open sesame")
    settings = load_settings(workspace(""))
    assert "open sesame" not in repr(settings)
    assert settings.storage.secret_access_key.get_secret_value() == "open sesame"


def test_settings_do_not_change_once_read():
    with pytest.raises(ValueError, match="frozen"):
        Settings().reduce = None
