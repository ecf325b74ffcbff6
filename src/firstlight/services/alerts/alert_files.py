"""Files of alerts, without a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from firstlight.errors import MissingError
from firstlight.formats.alert_packet import MOST_BYTES, BadAlert, read_alerts

__all__ = ["read_alert_file"]


def read_alert_file(path: Path) -> list[dict[str, Any]]:
    """The packets of a file, ours or another survey's.

    Raises
    ------
    MissingError, BadAlert
        There is no such file, or it holds something else.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadAlert(subject=path, expected=f"at most {MOST_BYTES} bytes")
        return read_alerts(path.read_bytes(), name=str(path))
    except FileNotFoundError:
        raise MissingError("there is no such file", subject=path) from None
    except OSError as fault:
        raise BadAlert(subject=path, found=fault.strerror) from fault
