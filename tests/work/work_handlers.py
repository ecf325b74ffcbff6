"""Handlers that the tests of the engines run, in this process or in workers."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from firstlight.errors import BadFile, RemoteError

LOADED_BY = os.getpid()


def make_services(argument: Any) -> dict[str, Any]:
    return {"argument": argument, "pid": os.getpid()}


def fail_setup(argument: Any) -> None:
    raise BadFile(subject=argument)


def echo(payload: dict[str, Any], services: Any) -> dict[str, Any]:
    return {"payload": payload, "argument": services and services["argument"]}


def where(payload: dict[str, Any], services: Any) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "main": getattr(sys.modules["__main__"], "__file__", None),
    }


def memory(payload: dict[str, Any], services: Any) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "loaded_by": LOADED_BY,
        "collects": gc.isenabled(),
        "kept": gc.get_freeze_count(),
    }


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def fill_memory(payload: dict[str, Any], services: Any) -> dict[str, Any]:
    held = [bytearray(os.urandom(1 << 20)) for _ in range(payload["megabytes"])]
    del held
    return {"pid": os.getpid(), "kept": resident_mb(os.getpid())}


def not_json(payload: dict[str, Any], services: Any) -> object:
    return object()


def not_a_number(payload: dict[str, Any], services: Any) -> dict[str, Any]:
    return {"seeing": float("nan"), "kept": [1.5, float("inf")]}


def bad_file(payload: dict[str, Any], services: Any) -> None:
    raise BadFile(subject=payload.get("path"), field="EXPTIME", hint="look at it")


def defect(payload: dict[str, Any], services: Any) -> Any:
    return 1 / payload["divisor"]


def nap(payload: dict[str, Any], services: Any) -> Any:
    time.sleep(payload["seconds"])
    return payload["seconds"]


def nap_with_child(payload: dict[str, Any], services: Any) -> None:
    with subprocess.Popen(["sleep", str(payload["seconds"])]) as child:
        Path(payload["pid_file"]).write_text(f"{os.getpid()} {child.pid}")


def suicide(payload: dict[str, Any], services: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(payload: dict[str, Any], services: Any) -> None:
    sys.exit(3)


def _count(path: Path) -> int:
    with path.open("a") as ledger:
        ledger.write("x")
    return path.stat().st_size


def die_at_first(payload: dict[str, Any], services: Any) -> int:
    made = _count(Path(payload["counter"]))
    if made <= payload.get("deaths", 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return made


def fail_at_first(payload: dict[str, Any], services: Any) -> int:
    made = _count(Path(payload["counter"]))
    if made <= payload["failures"]:
        raise RemoteError(subject="elsewhere", found=made)
    return made


def make_product(payload: dict[str, Any], services: Any) -> dict[str, Any]:
    """Like a reduction: some work, then a product under its own name, put there in one move."""
    folder, name = Path(payload["folder"]), payload["name"]
    with (folder / "ledger").open("a") as ledger:
        ledger.write(f"{name} {os.getpid()}\n")
    time.sleep(payload.get("seconds", 0.02))
    while payload.get("gate") and not Path(payload["gate"]).exists():
        time.sleep(0.01)
    if payload.get("bad"):
        raise BadFile(subject=name)
    temporary = folder / f"{name}.{os.getpid()}.part"
    temporary.write_text(name)
    temporary.replace(folder / name)
    return {"product": name}
