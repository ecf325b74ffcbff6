"""Every error of the package: a stable code, a side, a message; and what it tells."""

import importlib.util
import pickle
import sys
from pathlib import Path

import pytest

from firstlight.errors import (
    BadFile,
    FirstlightError,
    InternalError,
    Kind,
    MissingError,
    RemoteError,
    UserError,
)

ROOT = Path(__file__).parent.parent
# Code and kind of every error that was ever told to programs. Lines are added, never changed.
PROMISED = ROOT / "tests" / "data" / "error_codes.txt"


def _script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


document_errors = _script("document_errors")
ERRORS = document_errors.all_errors()


def test_the_walk_finds_the_errors_of_every_floor():
    floors = {error.__module__.split(".")[1] for error in ERRORS}
    assert {"errors", "algorithms", "formats", "storage", "work", "instruments"} <= floors
    assert {"catalogs", "models", "pipeline", "services"} <= floors


def test_a_code_has_one_meaning():
    by_code: dict[str, list[type[FirstlightError]]] = {}
    for error in ERRORS:
        by_code.setdefault(error.code, []).append(error)
    for code, errors in by_code.items():
        assert len(errors) == 1, f"{code} is the code of {[each.__name__ for each in errors]}"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_each_error_names_itself(error):
    assert "code" in vars(error), "it says what it is, not what its parent is"
    assert error.code == error.code.lower()
    assert " " not in error.code


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_the_docstring_is_a_message(error):
    message = document_errors.message(error)
    assert message.endswith(".")
    assert message[0].isupper() or message.split()[0] == "astrometry.net"
    assert len(message.split()) >= 3
    assert "``" not in message
    assert error().message == message


def test_codes_that_programs_know_stay():
    promised = dict(line.split() for line in PROMISED.read_text().splitlines())
    found = {error.code: error.kind.value for error in ERRORS}
    assert promised.items() <= found.items(), "a code or its kind was changed: programs test it"
    new = found.keys() - promised.keys()
    assert not new, f"add to {PROMISED.relative_to(ROOT)}: {sorted(new)}"


def test_the_page_of_errors_is_that_of_the_code():
    page = document_errors.PAGE.read_text(encoding="utf-8")
    assert page == document_errors.page(), "run: python tools/document_errors.py"


def test_every_kind_has_an_exit_code_of_its_own():
    assert set(document_errors.EXIT_CODES) == set(Kind)
    assert len(set(document_errors.EXIT_CODES.values())) == len(Kind)


def test_the_kind_comes_with_the_parent():
    for parent, kind in (
        (UserError, Kind.USER),
        (MissingError, Kind.MISSING),
        (RemoteError, Kind.REMOTE),
        (InternalError, Kind.INTERNAL),
    ):
        below = [error for error in ERRORS if issubclass(error, parent)]
        assert {error.kind for error in below} == {kind}


def test_it_tells_all_it_knows_in_order():
    fault = BadFile(
        "no good", subject=Path("a.fits"), field="GAIN", found=0, expected=1.5, hint="mend it"
    )
    assert str(fault) == (
        "a.fits: no good | field: GAIN | found: 0 | expected: 1.5 | hint: mend it"
    )
    assert fault.as_dict() == {
        "code": "file.bad",
        "kind": "user",
        "message": "no good",
        "subject": "a.fits",
        "field": "GAIN",
        "found": "0",
        "expected": "1.5",
        "hint": "mend it",
    }


def test_what_is_not_known_is_not_told():
    assert str(BadFile()) == "The file cannot be used."
    assert str(BadFile(found="")) == "The file cannot be used. | found: "


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_it_crosses_the_border_of_a_process(error):
    fault = error("told", subject="s", field="f", found="x", expected="y", hint="h")
    back = pickle.loads(pickle.dumps(fault))  # noqa: S301, our own bytes
    assert type(back) is error
    assert back.as_dict() == fault.as_dict()
    assert str(back) == str(fault)
