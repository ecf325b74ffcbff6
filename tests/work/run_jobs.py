"""What `firstlight reduce` does, in small: submit jobs, wait, tell. Run as a program by the tests.

Arguments: the database (a path or a URL), the folder of products, and settings as JSON.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
from pathlib import Path
from typing import Any

from firstlight.work.dbos_engine import DbosEngine
from firstlight.work.engine import JobKind, JobRequest
from firstlight.work.retry import RETRIES, Cause, RetryRule

SOON = {**RETRIES, Cause.WORKER_DIED: RetryRule(attempts=2)}
JOBS = {
    "make_product": JobKind("work_handlers:make_product", retries=SOON),
    "nap": JobKind("work_handlers:nap", timeout_s=20),
}


def stay_at_home(connect: Any = socket.socket.connect) -> None:
    def checked(self: Any, address: Any) -> None:
        assert self.family is socket.AF_UNIX, f"the engine called out to {address}"
        connect(self, address)

    socket.socket.connect = checked  # type: ignore[method-assign]  # on purpose


def main(database: str, folder: str, settings: dict[str, Any]) -> None:
    logging.basicConfig(level=logging.INFO)
    url: Path | str = database if "://" in database else Path(database)
    stay_at_home()
    requests = [
        JobRequest(
            f"job-{n}",
            "make_product",
            {
                "folder": folder,
                "name": f"product-{n}",
                "seconds": settings.get("seconds", 0.05),
                "gate": settings.get("gate"),
                "bad": n in settings.get("bad", []),
            },
        )
        for n in range(settings["jobs"])
    ]
    with DbosEngine(url, JOBS, workers=settings.get("workers", 2)) as engine:
        engine.submit(requests)
        print("submitted", flush=True)  # noqa: T201 - the tests listen
        outcomes = engine.wait([request.job_id for request in requests])
    print(json.dumps({o.job_id: o.as_dict() for o in outcomes.values()}))  # noqa: T201 - likewise


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
