"""Pictures of exposures that came without one, and of their calibrated images."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from firstlight.errors import InvalidInput
from firstlight.formats.fits_file import FitsFile
from firstlight.formats.preview import encode_preview
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import FileRole
from firstlight.models.image import Image
from firstlight.services.access import Viewer
from firstlight.services.finding.downloads import DownloadService, Stored
from firstlight.services.finding.search import SearchService
from firstlight.services.finding.served_files import FileMissing, FileService, ServedFile

__all__ = ["SIDES", "PreviewService"]

SIDES = (256, 1024)
"""Longest sides, pixels."""
_PIXELS = (FileRole.FITS_SMALL, FileRole.RAW, FileRole.FITS_LARGE, FileRole.GREEN_FITS)
_AT_ONCE = 2  # images in memory; a page of thumbnails asks for all of them in one moment


class PreviewService:
    """Draws JPEG pictures of FITS files, and keeps them for a while.

    Parameters
    ----------
    database
        The tables.
    search, files, downloads
        Find exposures, open files, and keep what is made of them.
    """

    def __init__(
        self,
        *,
        database: Database,
        search: SearchService,
        files: FileService,
        downloads: DownloadService,
    ) -> None:
        self._database = database
        self._search = search
        self._files = files
        self._downloads = downloads
        self._gate = threading.BoundedSemaphore(_AT_ONCE)

    def of_exposure(
        self, which: uuid.UUID | str | int, sites: Collection[str] | None, side: int
    ) -> ServedFile:
        """Open a picture of the exposure's own pixels.

        Raises
        ------
        FileMissing
            It has no file with pixels that are known here.
        ExposureNotFound
            There is none, or none at these sites.
        """
        row = self._search.exposure(which, sites)
        file = row.file(*_PIXELS)
        if file is None:
            raise FileMissing("the exposure has no FITS file", subject=row.columns["label"])
        return self._drawn(Stored(row.id, file.key, file.sha256), side)

    def of_image(self, image_id: uuid.UUID, viewer: Viewer, side: int) -> ServedFile:
        """Open a picture of a calibrated image, its first row at the bottom.

        Raises
        ------
        FileMissing
            There is no such image, or none that the viewer may see.
        """
        return self._drawn(self._image(image_id, viewer), side)

    def image_file(self, image_id: uuid.UUID, viewer: Viewer) -> ServedFile:
        """Open the FITS file of a calibrated image; raises as `of_image`."""
        stored = self._image(image_id, viewer)
        return self._files.by_key(stored.key)

    def _image(self, image_id: uuid.UUID, viewer: Viewer) -> Stored:
        viewer.sites()
        with self._database.reading() as session:
            image = session.get(Image, image_id)
            exposure = None
            if image is not None and image.exposure_id is not None:
                exposure = session.get(Exposure, image.exposure_id)
        if image is None or exposure is None or not viewer.may("read", exposure.site):
            raise FileMissing(subject=image_id)
        first = (image.filename_extensions or [""])[0]
        return Stored(exposure.id, image.filename + first, image.sha256 or image.id.hex)

    def _drawn(self, stored: Stored, side: int) -> ServedFile:
        if side not in SIDES:
            raise InvalidInput(field="side", found=side, expected=" or ".join(map(str, SIDES)))

        def draw(path: Path, target: BinaryIO) -> None:
            with self._gate, FitsFile(path) as opened:
                picture = encode_preview(opened.image(), file_format="jpeg", largest_side=side)
                target.write(picture)

        return self._downloads.converted(stored, ("jpg", str(side)), f"preview-{side}.jpg", draw)
