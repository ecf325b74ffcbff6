from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from firstlight.services.source_settings import SourceSettings


def test_a_place_is_all_that_is_needed() -> None:
    assert SourceSettings(where="incoming").quiet_s == 0.5


@pytest.mark.parametrize("wrong", [{}, {"where": ""}, {"where": "x", "quiet": 1}])
def test_what_is_no_setting(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SourceSettings.model_validate(wrong)


def test_reading_settings_loads_no_libraries() -> None:
    code = (
        "import sys, firstlight.services.source_settings, firstlight.remotes.sqs\n"
        "print([m for m in ('boto3', 'sqlalchemy', 'astropy', 'numpy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
