"""The structure is tested like behaviour: bounds of functions and files, light imports."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "firstlight"
FILES = sorted(path for path in SOURCE.rglob("*.py") if "versions" not in path.parts)
MAX_BODY = 50
MAX_FILE = 600


def _functions(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _body_lines(node: ast.FunctionDef) -> int:
    body = node.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_functions_and_files_keep_their_bounds(path):
    text = path.read_text()
    long = [
        f"{node.name}: {_body_lines(node)} lines"
        for node in _functions(ast.parse(text))
        if _body_lines(node) > MAX_BODY
    ]
    assert not long
    assert len(text.splitlines()) <= MAX_FILE


@pytest.mark.parametrize(
    "path", sorted((SOURCE / "algorithms").glob("*.py")), ids=lambda path: path.stem
)
def test_algorithms_read_no_files_of_the_sky(path):
    # import-linter cannot forbid a part of an external package.
    assert "astropy.io" not in path.read_text()


@pytest.mark.parametrize("word", ["utils", "common", "core", "helpers", "misc"])
def test_no_room_has_a_name_without_meaning(word):
    assert [path for path in SOURCE.rglob(f"{word}*") if path.stem == word] == []


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("firstlight.errors", ("numpy", "sqlalchemy")),
        ("firstlight.provenance.lineage", ("numpy", "sqlalchemy", "astropy")),
        ("firstlight.cli.main", ("dbos", "scipy", "numba", "matplotlib", "astropy.wcs")),
    ],
)
def test_imports_stay_light(module, heavy):
    program = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_modules_of_tests_have_names_of_their_own():
    """They are imported by their bare names, where two of one name cannot be told apart."""
    here = Path(__file__).parent
    names = [path.name for path in here.rglob("*.py") if path.name != "conftest.py"]
    assert sorted(each for each, times in Counter(names).items() if times > 1) == []
