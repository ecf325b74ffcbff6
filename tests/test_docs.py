"""What the documentation says is true: its commands run, its settings load, its links lead."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import typer

import firstlight.models
from firstlight.algorithms.flags import Flag
from firstlight.cli.main import app
from firstlight.config import FILE_NAME, load_settings

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FIRST_NIGHT = DOCS / "tutorials" / "first-night.md"
ARCHIVE = DOCS / "tutorials" / "archive.md"
NETWORK = DOCS / "tutorials" / "network.md"
ADDRESS = "127.0.0.1:8000"
PATIENCE_S = 60
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
COMMANDS = typer.main.get_command(app)

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#]*)(?:#([^)]*))?\)")
OBJECT = re.compile(r"J\d{6}\.\d+[+-]\d{6}\.\d")
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
EVENT = re.compile(r'(?:id: |data: {"number":)[0-9]+')
# What is another each time: today, now, tokens, names made of the time or of all parameters.
PASSING = re.compile(
    r"20\d\d-\d\d-\d\d|\d\d:\d\d(:\d\d)?|fl_[\w-]{7,}|\w+-info-\d{8}-\d{8}"
    r"|(stamps|timelapses)/[0-9a-f]{32}/[0-9a-f]{12}\.\w+"
)


def _blocks(path: Path, *languages: str) -> list[tuple[str, str]]:
    return [found for found in BLOCK.findall(path.read_text("utf-8")) if found[0] in languages]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


# Links and code blocks.


@pytest.mark.parametrize("path", TEXTS, ids=_name)
def test_links_lead_somewhere(path):
    for target, anchor in LINK.findall(path.read_text("utf-8")):
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text("utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings]
            assert anchor in slugs, f"{target}#{anchor}"


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_every_page_is_in_the_navigation(path):
    assert f" {path.relative_to(DOCS)}\n" in (ROOT / "mkdocs.yml").read_text()


@pytest.mark.parametrize("path", [p for p in TEXTS if _blocks(p, "toml")], ids=_name)
def test_settings_shown_are_settings(path, tmp_path):
    for _, text in _blocks(path, "toml"):
        if "entry-points" in text:
            continue  # a part of pyproject.toml
        (tmp_path / FILE_NAME).write_text(text, encoding="utf-8")
        load_settings(tmp_path)


def _commands_shown() -> list[str]:
    shown = set()
    for path in TEXTS:
        for _, text in _blocks(path, "", "sh", "console"):
            for line in text.splitlines():
                typed = re.sub(r"^(\$ )?([A-Z_]+=\S+ )*", "", line).split("  #")[0].strip()
                if typed.startswith("firstlight "):
                    shown.add(re.sub(r"\s+[|&].*", "", f"{typed} ").strip())
    return sorted(shown)


@pytest.mark.parametrize("typed", _commands_shown())
def test_commands_shown_are_commands(typed):
    words = re.sub(r"^firstlight (-w \S+ )?", "", typed)
    name, *rest = shlex.split(words)
    COMMANDS.commands[name].make_context(name, rest)  # refuses what it does not know


# The README.


def test_every_command_is_in_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    for name in COMMANDS.commands:
        if name != "upgrade":
            assert re.search(rf"firstlight (-w \w+ )?{name}\b", readme), name


# Pages against the code.


def test_conventions_list_every_flag():
    rows = re.findall(
        r"^\| ([A-Z_]+) \| (\d+) \|", (DOCS / "conventions.md").read_text(), re.MULTILINE
    )
    assert {name: int(value) for name, value in rows} == {bit.name: bit.value for bit in Flag}


def test_the_architecture_draws_the_floors_that_are_enforced():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    floors = [set(re.findall(r"[a-z]+", layer)) for layer in layers if layer != "__main__"]
    page = (DOCS / "architecture.md").read_text()
    there = {path.name for path in (ROOT / "src" / "firstlight").iterdir()}
    drawn = page.split("## Floors")[1].split("```")[1].strip().splitlines()
    for names, line in zip(floors, drawn, strict=True):
        exist = {name for name in names if name in there or f"{name}.py" in there}
        assert exist <= set(re.findall(r"[a-z]+", line)), line


def test_words_are_tables():
    words = (DOCS / "glossary.md").read_text()
    for name in ("Site", "Observation", "Exposure", "Image", "SourceList", "WorldCoordinates",
                 "ZeroPoint", "Registration", "Object", "Photometry", "Provenance", "StepRun",
                 "LightCurveSet", "Software", "Arrival"):  # fmt: skip
        assert name in words
        assert hasattr(firstlight.models, name)


# The tutorial, as typed.


def _same_word(told: str, shown: str) -> bool:
    """Equal, but for the last digits of measured numbers and of names made of coordinates."""
    if OBJECT.search(told) and OBJECT.search(shown):
        return told[:5] == shown[:5]
    if told.startswith("/") or shown.startswith("/"):  # folders differ from machine to machine
        return told.rpartition("/")[2] == shown.rpartition("/")[2]
    if PASSING.fullmatch(told) and PASSING.fullmatch(shown):
        return len(told) == len(shown)
    if NUMBER.sub("#", told) != NUMBER.sub("#", shown):
        return False
    pairs = zip(NUMBER.findall(told), NUMBER.findall(shown), strict=True)
    return all(
        a == b
        if "." not in a and "." not in b and len(a) < 3
        else float(b) == pytest.approx(float(a), rel=0.15, abs=0.1)
        for a, b in pairs
    )


def _same_line(told: str, shown: str) -> bool:
    if EVENT.match(told) and EVENT.match(shown):  # files that come together are taken in any order
        told, shown = EVENT.sub("", told), EVENT.sub("", shown)
    words = told.split(), shown.split()
    return len(words[0]) == len(words[1]) and all(map(_same_word, *words))


def _agree(told: list[str], shown: list[str]) -> bool:
    """Whether an output is as told; ``...`` stands for any lines."""
    if not told:
        return not shown
    if told[0] == "...":
        return any(_agree(told[1:], shown[start:]) for start in range(len(shown) + 1))
    return bool(shown) and _same_line(told[0], shown[0]) and _agree(told[1:], shown[1:])


def _typed(block: str) -> list[tuple[str, list[str]]]:
    """Each command of a block with the output that is told."""
    steps: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif line.strip():
            steps[-1][1].append(line)
    return steps


def _environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FIRSTLIGHT_")}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",  # answers and messages in the order in which a person sees them
        **more,
    }


def _run(command: str, folder: Path, **more: str) -> str:
    done = subprocess.run(
        ["bash", "-c", f"{command} 2>&1"],
        cwd=folder,
        env=_environment(**more),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def _free_address() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def _running(command: str, log: Path, folder: Path, **more: str):
    """Run a program beside; it is stopped as a person stops it."""
    with log.open("wb") as out:
        there = subprocess.Popen(
            ["bash", "-c", f"exec {command.removesuffix('&')}"],
            cwd=folder,
            env=_environment(**more),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            there.send_signal(signal.SIGINT)
            try:
                there.wait(PATIENCE_S)
            finally:
                there.kill()


def _comes_true(told: list[str], show) -> list[str] | None:
    """Ask until the answer is as told; returns the last answer where it never is."""
    until = time.monotonic() + PATIENCE_S
    while True:
        shown = [line for line in show().splitlines() if line.strip()]
        if _agree(told, shown):
            return None
        if time.monotonic() > until:
            return shown
        time.sleep(0.5)


def _live_through(page: Path, folder: Path, workspace: str) -> None:
    """Type what a page with programs in the background tells, in its order.

    What it tells of work that goes on beside has to come true within a while.
    """
    address = _free_address()
    port = {"FIRSTLIGHT_WEB__PORT": address.rpartition(":")[2]}
    with ExitStack() as beside:
        for language, block in _blocks(page, "console", "python", "toml"):
            text = block.replace(ADDRESS, address)
            if language == "python":
                exec(compile(text, str(page), "exec"), {})  # noqa: S102, our own page is the code under test
                continue
            if language == "toml":
                with (folder / workspace / FILE_NAME).open("a", encoding="utf-8") as settings:
                    settings.write(f"\n{text}")
                continue
            for number, (command, told) in enumerate(_typed(text)):
                if command.endswith("&"):
                    log = folder / f"beside-{number}.log"
                    beside.enter_context(_running(command, log, folder, **port))
                    shown = _comes_true(told, log.read_text)
                else:
                    shown = _comes_true(told, lambda typed=command: _run(typed, folder, **port))
                assert shown is None, "\n".join([f"$ {command}", *(shown or ())])


@pytest.mark.parametrize(
    ("told", "shown", "agree"),
    [
        (["23.001 ± 0.005"], ["23.010 ± 0.006"], True),
        (["30 archived"], ["29 archived"], False),
        (["30 archived"], ["30 archived", "1 refused"], False),
        (["a", "...", "z"], ["a", "b", "c", "z"], True),
        (["a", "...", "z"], ["a", "z"], True),
        (["a", "...", "z"], ["a", "b"], False),
        (["FL J015911.04+462203.2 10.39"], ["FL J015911.05+462203.1 10.40"], True),
        (["FL J015911.04+462203.2 10.39"], ["FL J115911.05+462203.1 10.40"], False),
        (["●●●●"], ["●●✗–"], False),
        (["chi 3077.9"], ["chi 1.1"], False),
        (["2026-11-21 10:08 fl_KscphJa"], ["2027-01-02 23:59 fl_aaaaaaa"], True),
        (["2026-11-21 10:08"], ["2027-01-02 soon"], False),
        (["id: 1"], ["id: 12"], True),
        (['data: {"number":1,"site":"a"'], ['data: {"number":2,"site":"a"'], True),
        (['data: {"number":1,"site":"a"'], ['data: {"number":2,"site":"b"'], False),
        (["refused /home/me/cut.fits:"], ["refused /data/cut.fits:"], True),
        (["refused /home/me/cut.fits:"], ["refused /home/me/whole.fits:"], False),
    ],
)
def test_outputs_are_compared_with_sense(told, shown, agree):
    assert _agree(told, shown) is agree


@pytest.mark.slow
def test_the_first_night_goes_as_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for language, block in _blocks(FIRST_NIGHT, "console", "python"):
        if language == "python":
            exec(compile(block, str(FIRST_NIGHT), "exec"), {})  # noqa: S102, our own page is the code under test
            continue
        for command, told in _typed(block):
            output = _run(command, tmp_path, COLUMNS="80")
            shown = [line for line in output.splitlines() if line.strip()]
            assert _agree(told, shown), "\n".join([f"$ {command}", *shown])
    for name in ("scatter.png", "lc.png", "field.png", "field-B.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "lc.csv").read_text().count("\n") == 11


@pytest.mark.nightly
def test_the_archive_goes_as_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _live_through(ARCHIVE, tmp_path, "dome")


@pytest.mark.nightly
def test_the_network_goes_as_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _live_through(NETWORK, tmp_path, "network")
