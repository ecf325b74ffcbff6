"""A command loads what it needs: the rest would only keep it from its answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HEAVY = ("numpy", "sqlalchemy", "astropy", "scipy", "numba", "pyarrow", "dbos", "pydantic")
OPEN = """
from pathlib import Path
from firstlight.factory import Factory
Factory.create(Path(sys.argv[1]))
Factory.open(Path(sys.argv[1])).status.exposures()
"""
RELEASE = """
from firstlight.catalogs.catalog_settings import LocalCatalogSettings
from firstlight.catalogs.layout import StarLayout
from firstlight.catalogs.local import LocalCatalog
layout = StarLayout(ra="ra", dec="dec", mag="mag", band="g", system="AB")
LocalCatalog("mine", LocalCatalogSettings(path=sys.argv[1], layout=layout)).release
"""


def loaded(code: str, *arguments: Path) -> set[str]:
    """Modules that are there when a program has come to its end."""
    told = f"import sys\n{code}\nimport json\nprint(json.dumps(list(sys.modules)))"
    command = [sys.executable, "-c", told, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout))


def test_help_loads_no_library():
    assert not loaded("import firstlight.cli.main") & set(HEAVY)


def test_the_factory_loads_nothing_until_it_is_asked():
    assert not loaded("import firstlight.factory") & set(HEAVY)


def test_workers_begin_to_load_before_the_house_does():
    code = "from firstlight.factory import preload_workers"
    assert not loaded(code) & {"sqlalchemy", "astropy", "scipy", "numba", "pyarrow", "dbos"}


def test_an_open_workspace_loads_nothing_that_computes(tmp_path):
    heavy = {"scipy", "numba", "pyarrow", "dbos", "matplotlib", "pandas"}
    assert not loaded(OPEN, tmp_path / "new") & heavy


def test_a_catalogue_is_named_without_what_reads_its_stars(tmp_path):
    path = tmp_path / "stars.parquet"
    pq.write_table(pa.table({name: [1.0] for name in ("ra", "dec", "mag")}), path)
    assert not loaded(RELEASE, path) & {"pandas", "pyarrow.dataset"}
