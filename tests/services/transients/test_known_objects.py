"""Things that are known to vary or to move, from files."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from astropy.table import Table
from transient_world import Survey

from firstlight.errors import FirstlightError
from firstlight.formats.tables import save_table
from firstlight.models import Measurement
from firstlight.services.transients.association import ObjectRecogniser
from firstlight.services.transients.known_objects import (
    Known,
    KnownCatalogMissing,
    KnownObjects,
)
from firstlight.services.transients.settings import AssociationSettings, KnownCatalogSettings

ARCSEC = 1.0 / 3600.0
STARS = {
    "ra": np.array([150.0, 150.1]),
    "dec": np.array([2.0, 2.0]),
    "name": np.array(["RR Lyr", "V Sge"]),
    "kind": np.array(["RRAB", "CV"]),
}
# One goes north by 24 arcseconds an hour and is told twice a day; of the other there is one row.
MOVING = {
    "mjd": np.array([60_000.5, 60_000.0, 60_001.0, 60_000.0]),
    "ra": np.array([150.0, 150.0, 150.0, 150.5]),
    "dec": np.array([2.08, 2.0, 2.16, 2.5]),
    "name": np.array(["433 Eros", "433 Eros", "433 Eros", "Halley"]),
    "rate": np.array([24.0, 24.0, 24.0, 10.0]),
}


def write(folder, kind, columns):
    path = folder / f"known.{kind}"
    if kind == "parquet":
        save_table(path, columns)
    elif kind == "csv":
        pa.csv.write_csv(pa.table(columns), path)
    else:
        Table(columns).write(path, format="votable")
    return path.name


@pytest.mark.parametrize("kind", ["parquet", "csv", "vot"])
def test_what_stays_is_found_where_it_is(tmp_path, kind):
    known = KnownObjects((KnownCatalogSettings(path=write(tmp_path, kind, STARS)),), tmp_path)
    there = np.array([150.0, 150.1, 150.1]), np.array([2.0, 2.0 + 2 * ARCSEC, 2.0 + 4 * ARCSEC])
    assert known.at(*there, 60_000.0) == [
        Known("RR Lyr", "RRAB", moves=False), Known("V Sge", "CV", moves=False), None,
    ]  # fmt: skip


def test_what_moves_is_found_where_it_is_then(tmp_path):
    settings = KnownCatalogSettings(path=write(tmp_path, "parquet", MOVING))
    known = KnownObjects((settings,), tmp_path)
    dec = np.array([2.02, 2.0, 2.04])
    found = known.at(np.full(3, 150.0), dec, 60_000.125)
    assert [each and each.name for each in found] == ["433 Eros", None, None]
    assert found[0].moves
    # Two hours from its only row it may be 20 arcseconds away.
    near = known.at(np.full(2, 150.5), np.array([2.5 + 20 * ARCSEC, 2.5 + 25 * ARCSEC]),
                    60_000.0 + 2 / 24)  # fmt: skip
    assert [each and each.name for each in near] == ["Halley", None]
    assert known.at(np.full(3, 150.0), dec, 60_010.0) == [None] * 3, "no row is near in time"


def test_files_that_are_missing_or_wrong_are_named(tmp_path):
    with pytest.raises(KnownCatalogMissing, match=r"no\.csv"):
        KnownObjects((KnownCatalogSettings(path="no.csv"),), tmp_path).at(*np.zeros((2, 1)), 1.0)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nonsense")
    name = write(tmp_path, "csv", {"ra": [1.0], "dec": [2.0]})
    for path in ("bad.parquet", name):
        known = KnownObjects((KnownCatalogSettings(path=path),), tmp_path)
        with pytest.raises(FirstlightError) as caught:
            known.at(*np.zeros((2, 1)), 1.0)
        assert path in str(caught.value)


def test_a_missing_file_is_told_before_work_begins(tmp_path):
    name = write(tmp_path, "csv", {"ra": [1.0], "dec": [2.0]})
    KnownObjects((KnownCatalogSettings(path=name),), tmp_path).check()
    both = (KnownCatalogSettings(path=name), KnownCatalogSettings(path="no.csv"))
    with pytest.raises(KnownCatalogMissing, match=r"no\.csv"):
        KnownObjects(both, tmp_path).check()


def test_what_moves_founds_no_object_and_what_varies_does(database, tmp_path):
    survey = Survey(database)
    stars, moving = write(tmp_path, "csv", STARS), write(tmp_path, "parquet", MOVING)
    catalogs = tuple(KnownCatalogSettings(path=path) for path in (stars, moving))
    keeper = ObjectRecogniser(AssociationSettings(), KnownObjects(catalogs, tmp_path))
    section = survey.section(60_000.5)
    got = survey.recognise(keeper, section, [150.0, 150.0, 150.02], [2.0, 2.08, 2.05])
    assert [ident is None for ident in got] == [False, True, False]
    with database.reading() as session:
        rows = session.query(Measurement).order_by(Measurement.number).all()
        assert [row.known_as for row in rows] == ["RR Lyr", "433 Eros", None]
    asked = ObjectRecogniser(
        AssociationSettings(moving_objects=True), KnownObjects(catalogs, tmp_path)
    )
    (ident,) = survey.recognise(asked, survey.section(60_000.5), 150.0, 2.08)
    assert ident is not None
