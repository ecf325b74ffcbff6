"""Copies the JavaScript of other people that pages use to where they are served from.

The packages and their versions are those of ``package-lock.json``. Without Node there is
nothing to copy, and the pages do with what the server draws. Run it by ``make web``.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = ROOT / "node_modules"
VENDOR = ROOT / "src" / "firstlight" / "web" / "static" / "vendor"
COPIED = {
    "htmx.org/dist/htmx.min.js": "htmx.min.js",
    "js9/js9.min.js": "js9/js9.min.js",
    "js9/js9support.min.js": "js9/js9support.min.js",
    "js9/js9plugins.min.js": "js9/js9plugins.min.js",
    "js9/js9.css": "js9/js9.css",
    "js9/js9support.css": "js9/js9support.css",
    "js9/js9worker.js": "js9/js9worker.js",
    "js9/astroemw.js": "js9/astroemw.js",
    "js9/astroemw.wasm": "js9/astroemw.wasm",
    "js9/images": "js9/images",
    "js9/params": "js9/params",
    "js9/LICENSE": "js9/LICENSE",
    "htmx.org/LICENSE": "htmx.LICENSE",
}
_LARGE_PICTURES = ("*.icns", "js9Readme.png", "js9logo", "voyager*")
_PACKED = {".js", ".css", ".wasm", ".svg"}


def main() -> int:
    """Install the packages where that is needed, and copy their files."""
    fault = _install()
    if fault is not None:
        print(f"pages will do without the JavaScript of other people: {fault}")
        return 0
    shutil.rmtree(VENDOR, ignore_errors=True)
    for source, target in COPIED.items():
        _copy(MODULES / source, VENDOR / target)
    for path in sorted(VENDOR.rglob("*")):
        if path.suffix in _PACKED and path.stat().st_size > 1000:
            packed = path.with_name(path.name + ".gz")
            packed.write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    (VENDOR / ".built").touch()  # for make
    size = sum(path.stat().st_size for path in VENDOR.rglob("*") if path.is_file())
    print(f"{VENDOR.relative_to(ROOT)}: {size / 1e6:.1f} MB")
    return 0


def _install() -> str | None:
    """Install the packages of the lock file where that is needed; tell why it cannot be done."""
    lock, installed = ROOT / "package-lock.json", MODULES / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return None
    # The development environment brings a Node of its own; it lies beside this Python.
    beside = Path(sys.executable).parent
    path = os.pathsep.join([str(beside), os.environ.get("PATH", "")])
    npm = shutil.which("npm", path=path)
    if npm is None:
        return "there is no npm"
    done = subprocess.run(
        [npm, "ci", "--silent"], cwd=ROOT, check=False, env={**os.environ, "PATH": path}
    )
    return None if done.returncode == 0 else f"npm ci failed with status {done.returncode}"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*_LARGE_PICTURES))
    else:
        shutil.copyfile(source, target)


if __name__ == "__main__":
    sys.exit(main())
