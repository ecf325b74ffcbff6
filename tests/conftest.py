"""Fixtures that every suite may use."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG
from hypothesis import HealthCheck, settings

# The examples of a test are the same in every run, so that a red test means a changed program,
# and never a busy machine; FIRSTLIGHT_HYPOTHESIS=explore looks for new ones, and for more of them.
settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("FIRSTLIGHT_HYPOTHESIS", "steady"))

# Likewise: a server that answers late on a busy machine is not at fault.
DEFAULT_TIMEOUT_CONFIG.read = 60.0

# As the program does: to look for garbage among all that is loaded takes a tenth of the time.
gc.set_threshold(10_000)

# Whoever runs tests side by side sets a width, which is not what our output should fit.
os.environ.pop("COLUMNS", None)

# Where files run side by side, each of these takes minutes.
_LONGEST = ("tests/test_docs.py", "tests/acceptance/", "tests/end_to_end/", "tests/pipeline/")

pytest_plugins = ["fixtures_postgres", "fixtures_s3", "fixtures_sqlite"]


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real sample data; skips without it unless FIRSTLIGHT_REQUIRE names it."""
    folder = os.environ.get("FIRSTLIGHT_SAMPLES")
    if folder and Path(folder).is_dir():
        return Path(folder)
    reason = f"no sample data: FIRSTLIGHT_SAMPLES is {folder!r}"
    if "samples" in os.environ.get("FIRSTLIGHT_REQUIRE", "").replace(",", " ").split():
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where only slow or nightly tests are wanted, files that have none are not even loaded."""
    wanted, *others = str(config.option.markexpr).split() or [""]
    if wanted not in ("slow", "nightly") or "or" in others:
        return None
    if not collection_path.name.startswith("test_"):
        return None
    return f"mark.{wanted}" not in collection_path.read_text(encoding="utf-8") or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first: side by side with others, they would else end alone."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST))


def pytest_collection_finish() -> None:
    """What collecting has loaded stays until the end."""
    gc.freeze()
