"""Saving products: bytes before rows, and rows only once."""

from __future__ import annotations

from sqlalchemy.orm import Session

from firstlight.formats.cutout_file import write_cutouts
from firstlight.formats.fits_image import encode_planes
from firstlight.formats.psf_file import write_psf
from firstlight.formats.tables import write_table
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.measurement import Cutouts
from firstlight.models.provenance import Product
from firstlight.models.psf import PSF
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

    def write(self, product: Product, image: Image, stem: str) -> None:
        """Write the file of a product, if it has one; sets name and checksum.

        Parameters
        ----------
        image
            Which it was made of.
        stem
            Beginning of the file's name.
        """
        if isinstance(product, Image):
            self.write_image(product, stem)
        elif isinstance(product, SourceList):
            self.write_sources(product, image, stem)
        elif isinstance(product, PSF):
            content = write_psf(product.model)
            product.filename, product.sha256 = self._put(product, "psfs", image, stem, content)
        elif isinstance(product, Cutouts):
            content = write_cutouts(product.rows)
            product.filename, product.sha256 = self._put(product, "cutouts", image, stem, content)

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
        table = sources.table
        content = write_table(table.columns, units=table.units, metadata=table.metadata)
        sources.filename, sources.sha256 = self._put(sources, "sources", image, stem, content)

    def _put(
        self, product: Product, folder: str, image: Image, stem: str, content: bytes
    ) -> tuple[str, str]:
        """Name and checksum of what was stored."""
        end = "npz" if folder == "psfs" else "parquet"
        name = f"{folder}/{image.instrument}/{stem}-{product.id.hex[:12]}.{end}"
        return name, self._store.put(name, content, overwrite=True).sha256


def section_stem(exposure: Exposure, section_id: str) -> str:
    """Beginning of the names of files made from one section of an exposure."""
    stem = exposure.name.split(".")[0]
    return f"{stem}.{section_id}"


def save_rows(session: Session, products: list[Product]) -> list[Product]:
    """Add products that are not there yet; one made twice at once is one row.

    Returns
    -------
    list
        Those that were added.
    """
    added = []
    for product in products:
        if session.get(type(product), product.id) is None:
            session.add(product)
            session.flush()
            added.append(product)
    return added
