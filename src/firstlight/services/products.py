"""Saving products: bytes before rows, and rows only once."""

from __future__ import annotations

from sqlalchemy.orm import Session

from firstlight.formats.fits_image import encode_planes
from firstlight.formats.tables import write_table
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.provenance import Product
from firstlight.models.sources import SourceList
from firstlight.services.settings import ImageFileSettings
from firstlight.storage import Store

__all__ = ["ProductFiles", "save_rows", "section_stem"]


class ProductFiles:
    """Names and writes the files of products.

    Parameters
    ----------
    store
        Where they go.
    images
        How image files are written.
    """

    def __init__(self, store: Store, images: ImageFileSettings) -> None:
        self._store = store
        self._single_file = images.single_file
        self._packed = images.format == "fits.fz"

    def write_image(self, image: Image, stem: str) -> None:
        """Write the planes; sets name and checksum of the image."""
        name = f"images/{image.instrument}/{stem}-{image.id.hex[:12]}"
        files = encode_planes(image.planes, single_file=self._single_file, packed=self._packed)
        extensions = list(files)
        # A row that is not there yet owns no file: what lies there is from a run that died.
        stored = [
            self._store.put(name + extension, content, overwrite=True)
            for extension, content in files.items()
        ]
        if self._single_file:
            image.filename, image.filename_extensions = name + extensions[0], None
        else:
            image.filename, image.filename_extensions = name, extensions
        image.sha256 = stored[0].sha256

    def write_sources(self, sources: SourceList, image: Image, stem: str) -> None:
        """Write the table; sets name and checksum of the list."""
        sources.filename = f"sources/{image.instrument}/{stem}-{sources.id.hex[:12]}.parquet"
        table = sources.table
        content = write_table(table.columns, units=table.units, metadata=table.metadata)
        sources.sha256 = self._store.put(sources.filename, content, overwrite=True).sha256


def section_stem(exposure: Exposure, section_id: str) -> str:
    """Beginning of the names of files made from one section of an exposure."""
    stem = exposure.name.split(".")[0]
    return f"{stem}.{section_id}"


def save_rows(session: Session, products: list[Product]) -> None:
    """Add products that are not there yet; one made twice at once is one row."""
    for product in products:
        if session.get(type(product), product.id) is None:
            session.add(product)
            session.flush()
