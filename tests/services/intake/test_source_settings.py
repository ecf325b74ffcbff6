from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from firstlight.services.intake.source_settings import SourceSettings, WatchedBucketSettings


def test_from_a_file_of_settings() -> None:
    settings = SourceSettings.model_validate(
        {
            "folders": [{"path": "incoming", "suffixes": [".fits"]}],
            "buckets": [{"root": "s3://photonranch-001/data", "site": "sro"}],
            "queues": [{"url": "https://sqs.us-east-1.amazonaws.com/1/arrivals"}],
        }
    )
    assert settings.folders[0].quiet_s == 0.5
    assert settings.buckets[0].region == "us-east-1"
    assert settings.queues[0].wait_s == 2


@pytest.mark.parametrize("root", ["data", "s3://", "https://x/y", "/s3://x"])
def test_a_watched_bucket_is_a_bucket(root: str) -> None:
    with pytest.raises(ValidationError):
        WatchedBucketSettings(root=root)


def test_reading_settings_loads_no_libraries() -> None:
    code = (
        "import sys, firstlight.services.intake.source_settings\n"
        "print([m for m in ('boto3', 'sqlalchemy', 'astropy', 'numpy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
