"""Files that cannot be used, each wrong in its own way, and good ones to keep beside them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from astropy.io import fits

BLOCK = 2880


@dataclass(frozen=True)
class BadInput:
    """A bad file, the code of its error, and a word that the message must have."""

    name: str
    path: Path
    expected_code: str
    mention: str = ""


def stars(seed: int = 1, shape: tuple[int, int] = (40, 60)) -> np.ndarray:
    sky = np.random.default_rng(seed).normal(1000, 20, shape)
    sky[20, 30] = 9000
    return sky.astype(np.uint16)


GOOD_CARDS = {
    "INSTRUME": "Testcam",
    "DATE-OBS": "2021-03-04T05:06:07.8",
    "EXPTIME": 30.0,
    "RA": 150.1,
    "DEC": 2.2,
    "FILTER": "R",
    "IMAGETYP": "Light Frame",
}


def fits_bytes(pixels: np.ndarray | None = None, **cards: object) -> bytes:
    """Plain FITS. A card set to None is left out; ``_`` in a name stands for a hyphen."""
    hdu = fits.PrimaryHDU(stars() if pixels is None else pixels)
    wanted = GOOD_CARDS | {name.replace("_", "-"): value for name, value in cards.items()}
    for name, value in wanted.items():
        if value is not None:
            hdu.header[name] = value
    stream = BytesIO()
    hdu.writeto(stream)
    return stream.getvalue()


def tiled_bytes() -> bytes:
    stream = BytesIO()
    fits.HDUList(
        [fits.PrimaryHDU(), fits.CompImageHDU(stars(), compression_type="RICE_1")]
    ).writeto(stream)
    return stream.getvalue()


def card(text: str) -> bytes:
    return text.encode("latin-1").ljust(80)


def replaced(content: bytes, keyword: str, text: str, *, last: bool = False) -> bytes:
    """The file with the first (or last) card of a keyword exchanged."""
    find = content.rfind if last else content.find
    at = find(keyword.ljust(8).encode() + b"=")
    assert at >= 0, keyword
    return content[:at] + card(text) + content[at + 80 :]


def header_only(*texts: str, data: int = 0) -> bytes:
    cards = b"".join(card(text) for text in (*texts, "END"))
    return cards.ljust(-(-len(cards) // BLOCK) * BLOCK) + b"\0" * data


SIMPLE = "SIMPLE  =                    T"
BITPIX = "BITPIX  =                   16"
NAXIS2 = "NAXIS   =                    2"


def _file_faults(folder: Path) -> list[BadInput]:
    plain = folder / "plain.txt"
    plain.write_text("hello")
    (folder / "a_folder.fits").mkdir()
    (folder / "loop.fits").symlink_to(folder / "loop.fits")
    (folder / "dangling.fits").symlink_to(folder / "nowhere.fits")
    os.mkfifo(folder / "pipe.fits")
    (folder / "empty.fits").touch()
    found = [
        BadInput("missing", folder / "missing.fits", "file.missing", "missing.fits"),
        BadInput("behind a file", plain / "x.fits", "file.missing", "x.fits"),
        BadInput("dangling link", folder / "dangling.fits", "file.missing", "nowhere"),
        BadInput("folder", folder / "a_folder.fits", "file.not_regular", "folder"),
        BadInput("loop", folder / "loop.fits", "file.symlink_loop", "loop.fits"),
        BadInput("pipe", folder / "pipe.fits", "file.not_regular", "pipe"),
        BadInput("empty", folder / "empty.fits", "file.empty", "0 bytes"),
        BadInput("long name", folder / ("x" * 300 + ".fits"), "file.name", "longer"),
        BadInput("null byte in name", Path(f"{folder}/a\0b.fits"), "file.name", "null byte"),
    ]
    if os.geteuid() != 0:  # root may read everything
        locked = folder / "locked.fits"
        locked.write_bytes(fits_bytes())
        locked.chmod(0)
        found.append(BadInput("locked", locked, "file.unreadable", "locked.fits"))
    return found


def _zip(content: bytes) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.fits", content)
    return stream.getvalue()


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


Fault = tuple[str, bytes, str, str]


def _packing_faults() -> list[Fault]:
    good = fits_bytes()
    packed, bzipped, xzipped = gzip.compress(good, mtime=0), bz2.compress(good), lzma.compress(good)
    stream = "file.corrupt_stream"
    return [
        ("zip", _zip(good), "file.unsupported_compression", "zip"),
        ("zstd", b"\x28\xb5\x2f\xfd" + good, "file.unsupported_compression", "zstandard"),
        ("old compress", b"\x1f\x9d\x90" + good, "file.unsupported_compression", ".Z"),
        ("7z", b"7z\xbc\xaf\x27\x1c" + good, "file.unsupported_compression", "7-zip"),
        ("gzip cut", packed[: len(packed) // 2], stream, "gzip"),
        ("gzip cut in its header", packed[:5], stream, "gzip"),
        ("gzip flipped", _flipped(packed, len(packed) // 2), stream, "gzip"),
        ("gzip wrong checksum", _flipped(packed, len(packed) - 6), stream, "gzip"),
        ("bzip2 cut", bzipped[: len(bzipped) // 2], stream, "bzip2"),
        ("bzip2 flipped", _flipped(bzipped, len(bzipped) // 2), stream, "bzip2"),
        ("xz cut", xzipped[: len(xzipped) // 2], stream, "xz"),
        ("xz flipped", _flipped(xzipped, len(xzipped) // 2), stream, "xz"),
        ("gzip of a text", gzip.compress(b"hello" * 999), "fits.not_fits", "hello"),
        ("gzip of a cut file", gzip.compress(good[:5000]), "fits.truncated_data", "HDU 0"),
        ("gzip of nothing", gzip.compress(b""), "fits.not_fits", "''"),
    ]


def _not_fits() -> list[Fault]:
    noise = np.random.default_rng(2).bytes(9000)
    return [
        ("text", b"This is a log file.\n" * 500, "fits.not_fits", "This is a log"),
        ("web page", b"<!DOCTYPE html><h1>404 Not Found</h1>" * 99, "fits.not_fits", "DOCTYPE"),
        ("jpeg", b"\xff\xd8\xff\xe0" + noise, "fits.not_fits", "a JPEG picture"),
        ("png", b"\x89PNG\r\n\x1a\n" + noise, "fits.not_fits", "a PNG picture"),
        ("tiff", b"II*\0" + noise, "fits.not_fits", "a TIFF picture"),
        ("json", b'{"error": "no such file"}', "fits.not_fits", "error"),
        ("noise", b"\0" + noise, "fits.not_fits", "expected"),
        ("gz in name only", b"not packed at all " * 300, "fits.not_fits", "not packed"),
        ("zeros", b"\0" * 28800, "fits.not_fits", "expected"),
        ("SIMPLE = F", replaced(fits_bytes(), "SIMPLE", "SIMPLE  =                    F"),
         "fits.not_fits", "SIMPLE"),
    ]  # fmt: skip


def _header_faults() -> list[Fault]:
    good = fits_bytes()
    end = good.index(b"END".ljust(80))
    card_fault = "fits.structure_card"
    many = [f"KEY{n % 99999:05d}= {n:20d}" for n in range(200_400)]

    def swap(keyword: str, value: str) -> bytes:
        return replaced(good, keyword, f"{keyword:8}= {value:>20}")

    return [
        ("cut in the first card", good[:50], "fits.truncated_header", "50 bytes"),
        ("cut in the header", good[:900], "fits.truncated_header", "900 bytes"),
        ("header without END", card(SIMPLE).ljust(BLOCK), "fits.no_end", "END"),
        ("END lost before the pixels", good[:end] + card("") + good[end + 80 :],
         "fits.no_end", "END"),
        ("endless header", header_only(SIMPLE, BITPIX, *many), "fits.header_too_large", "200000"),
        ("no BITPIX", replaced(good, "BITPIX", "COMMENT gone"), card_fault, "BITPIX"),
        ("BITPIX 12", swap("BITPIX", "12"), "fits.bitpix", "12"),
        ("BITPIX text", swap("BITPIX", "'many'"), card_fault, "many"),
        ("no NAXIS", replaced(good, "NAXIS", "COMMENT gone"), card_fault, "NAXIS"),
        ("no NAXIS2", replaced(good, "NAXIS2", "COMMENT gone"), card_fault, "NAXIS2"),
        ("NAXIS 1000", swap("NAXIS", "1000"), card_fault, "1000"),
        ("NAXIS1 negative", swap("NAXIS1", "-60"), card_fault, "-60"),
        ("NAXIS1 text", swap("NAXIS1", "'wide'"), card_fault, "wide"),
        ("NAXIS1 fraction", swap("NAXIS1", "60.5"), card_fault, "60.5"),
        ("NAXIS1 empty", replaced(good, "NAXIS1", "NAXIS1  ="), card_fault, "NAXIS1"),
        ("NAXIS1 garbage", replaced(good, "NAXIS1", "NAXIS1  = \xfe\x01\xff"),
         card_fault, "NAXIS1"),
        ("NAXIS1 twice", replaced(good, "EXTEND", "NAXIS1  =                   61"),
         card_fault, "twice"),
        ("NAXIS3 too many", replaced(good, "EXTEND", "NAXIS3  =                    4"),
         card_fault, "NAXIS3"),
        ("PCOUNT negative", replaced(good, "EXTEND", "PCOUNT  =                  -10"),
         card_fault, "PCOUNT"),
        ("GCOUNT zero", replaced(good, "EXTEND", "GCOUNT  =                    0"),
         card_fault, "GCOUNT"),
    ]  # fmt: skip


def _axes(*axes: int) -> bytes:
    lines = [f"NAXIS{n}  = {length:20d}" for n, length in enumerate(axes, start=1)]
    size = int(np.prod(axes)) * 2 if axes else 0
    padded = -(-size // BLOCK) * BLOCK
    return header_only(SIMPLE, BITPIX, f"NAXIS   = {len(axes):20d}", *lines, data=padded)


def _table_only() -> bytes:
    stream = BytesIO()
    table = fits.BinTableHDU.from_columns([fits.Column("ra", "D", array=np.arange(9.0))])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(stream)
    return stream.getvalue()


def _second_cut() -> bytes:
    stream = BytesIO()
    fits.HDUList(
        [fits.PrimaryHDU(), fits.ImageHDU(stars(), name="A"), fits.ImageHDU(stars(), name="B")]
    ).writeto(stream)
    return stream.getvalue()[:-4000]


def _size_faults() -> list[Fault]:
    good = fits_bytes()
    huge = f"NAXIS1  = {10**9:20d}", f"NAXIS2  = {10**9:20d}"
    vast = f"NAXIS1  = {10**18:20d}", f"NAXIS2  = {10**18:20d}"
    large = replaced(replaced(good, "NAXIS1", f"NAXIS1  = {20_000:20d}"),
                     "NAXIS2", f"NAXIS2  = {20_000:20d}")  # fmt: skip
    return [
        ("half of the pixels", good[: BLOCK + 2400], "fits.truncated_data", "4800 bytes"),
        ("no pixels", good[:BLOCK], "fits.truncated_data", "0 bytes"),
        ("one pixel short", good[: BLOCK + 4798], "fits.truncated_data", "4798 bytes"),
        ("second extension cut", _second_cut(), "fits.truncated_data", "HDU 2 (B)"),
        ("declared larger than it is", large, "fits.truncated_data", "800000000 bytes"),
        ("absurd axes", header_only(SIMPLE, BITPIX, NAXIS2, *huge), "fits.absurd_size", "10000"),
        ("vast axes", header_only(SIMPLE, BITPIX, NAXIS2, *vast), "fits.absurd_size", "10000"),
        ("no axes", _axes(), "fits.no_image", "empty"),
        ("table only", _table_only(), "fits.no_image", "table"),
        ("one axis", _axes(1000), "fits.not_2d", "1000"),
        ("one row", _axes(1000, 1), "fits.not_2d", "1000"),
        ("one column", _axes(1, 1000), "fits.not_2d", "1000"),
        ("zero width", _axes(0, 100), "fits.empty_image", "(0, 100)"),
        ("zero height", _axes(100, 0), "fits.empty_image", "(100, 0)"),
        ("cube", _axes(40, 30, 3), "fits.cube", "(40, 30, 3)"),
        ("hypercube", _axes(8, 9, 2, 5), "fits.cube", "(8, 9, 2, 5)"),
    ]


def _pixel_faults() -> list[Fault]:
    integers = fits_bytes(stars().astype(np.int16))

    def scaled(text: str, pixels: bytes = integers) -> bytes:
        return replaced(pixels, "EXTEND", text)

    blank = scaled("BLANK   =                   -7", fits_bytes(np.full((30, 30), -7, np.int16)))
    return [
        ("BSCALE zero", scaled("BSCALE  =                  0.0"), "fits.scaling", "BSCALE"),
        ("BSCALE text", scaled("BSCALE  = 'one'"), "fits.scaling", "one"),
        ("BZERO text", scaled("BZERO   = 'zero'"), "fits.scaling", "zero"),
        ("BZERO true", scaled("BZERO   =                    T"), "fits.scaling", "BZERO"),
        ("BLANK fraction", scaled("BLANK   =                  1.5"), "fits.scaling", "1.5"),
        ("all NaN", fits_bytes(np.full((30, 30), np.nan, np.float32)), "fits.all_nan", "900"),
        ("all BLANK", blank, "fits.all_nan", "900"),
        ("all zero", fits_bytes(np.zeros((30, 30), np.uint16)), "fits.constant", "0 everywhere"),
        ("all saturated", fits_bytes(np.full((30, 30), 65535, np.uint16)),
         "fits.constant", "65535"),
        ("all infinite", fits_bytes(np.full((30, 30), np.inf, np.float32)),
         "fits.constant", "inf"),
    ]  # fmt: skip


def _tile_faults() -> list[Fault]:
    good = tiled_bytes()
    damaged = bytearray(good)
    heap = good.index(b"END".ljust(80), good.index(b"ZIMAGE"))
    heap = -(-heap // BLOCK) * BLOCK
    damaged[heap : heap + 320] = b"\x7f" * 320  # the table of the tiles' places

    def swap(keyword: str, value: object) -> bytes:
        return replaced(good, keyword, f"{keyword:8}= {value:>20}")

    return [
        ("tiles cut", good[:-BLOCK], "fits.truncated_data", "HDU 1"),
        ("tiles missing", swap("ZNAXIS2", 50), "fits.tiles", "40 tiles"),
        ("tiles of no width", swap("ZTILE1", 0), "fits.tiles", "ZTILE1"),
        ("tiles absurd", swap("ZNAXIS1", 10**12), "fits.tiles", "40 tiles"),
        ("ZBITPIX 7", swap("ZBITPIX", 7), "fits.bitpix", "ZBITPIX"),
        ("no ZNAXIS", replaced(good, "ZNAXIS", "COMMENT gone"), "fits.structure_card", "ZNAXIS"),
        ("tiles by magic", swap("ZCMPTYPE", "'MAGIC_1 '"), "fits.corrupt_tiles", "HDU 1"),
        ("tile places damaged", bytes(damaged), "fits.corrupt_tiles", "HDU 1"),
    ]


def _card_faults() -> list[Fault]:
    coordinate, date, site = "header.coordinate", "header.date", "header.site"
    quantity, area = "header.quantity", "header.pixel_range"
    return [
        ("RA 999", fits_bytes(RA=999.0), coordinate, "999"),
        ("RA text", fits_bytes(RA="east"), coordinate, "east"),
        ("RA 25 hours", fits_bytes(RA="25:00:00"), coordinate, "25:00:00"),
        ("RA 70 minutes", fits_bytes(RA="12:70:00"), coordinate, "12:70:00"),
        ("DEC -91", fits_bytes(DEC=-91.0), coordinate, "-91"),
        ("DEC text", fits_bytes(DEC="south"), coordinate, "south"),
        ("EXPTIME negative", fits_bytes(EXPTIME=-5), "header.exposure_time", "-5"),
        ("EXPTIME text", fits_bytes(EXPTIME="abc"), "header.exposure_time", "abc"),
        ("EXPTIME of a year", fits_bytes(EXPTIME=3.2e7), "header.exposure_time", "32000000"),
        ("EXPTIME true", fits_bytes(EXPTIME=True), "header.exposure_time", "True"),
        ("DATE-OBS nonsense", fits_bytes(DATE_OBS="last night"), date, "last night"),
        ("DATE-OBS month 13", fits_bytes(DATE_OBS="2017-13-45T00:00:00"), date, "calendar"),
        ("DATE-OBS 30 February", fits_bytes(DATE_OBS="2017-02-30T00:00:00"), date, "calendar"),
        ("DATE-OBS 25 hours", fits_bytes(DATE_OBS="2017-02-03T25:00:00"), date, "25:00"),
        ("DATE-OBS year 1", fits_bytes(DATE_OBS="0001-01-01T00:00:00"), date, "year"),
        ("DATE-OBS no time", fits_bytes(DATE_OBS="2017-02-03"), date, "TIME-OBS"),
        ("DATE-OBS number", fits_bytes(DATE_OBS=20170203), date, "20170203"),
        ("DATE-OBS zone", fits_bytes(DATE_OBS="2017-02-03T01:02:03+99:00"), date, "zone"),
        ("DATE-OBS garbage",
         replaced(fits_bytes(), "DATE-OBS", "DATE-OBS= '\xfe\xff\x01\x02'"), date, "DATE-OBS"),
        ("MJD absurd", fits_bytes(DATE_OBS=None, MJD_OBS=1e9), date, "MJD-OBS"),
        ("GAIN negative", fits_bytes(GAIN=-1.0), quantity, "GAIN"),
        ("AIRMASS 99", fits_bytes(AIRMASS=99.0), quantity, "AIRMASS"),
        ("CCD-TEMP text", fits_bytes(CCD_TEMP="cold"), quantity, "cold"),
        ("XBINNING half", fits_bytes(XBINNING=0.5), quantity, "XBINNING"),
        ("SATURATE zero", fits_bytes(SATURATE=0), quantity, "SATURATE"),
        ("SITELAT 123", fits_bytes(SITELAT=123.0), site, "SITELAT"),
        ("SITELONG text", fits_bytes(SITELONG="here"), site, "here"),
        ("DATASEC text", fits_bytes(DATASEC="all of it"), area, "all of it"),
        ("DATASEC outside", fits_bytes(DATASEC="[1:600,1:40]"), area, "60 x 40"),
        ("BIASSEC from 0", fits_bytes(BIASSEC="[0:5,1:40]"), area, "counted from 1"),
        ("no date", fits_bytes(DATE_OBS=None), "header.missing", "DATE-OBS"),
        ("no exposure time", fits_bytes(EXPTIME=None), "header.missing", "EXPTIME"),
        ("no pointing", fits_bytes(RA=None), "header.missing", "RA"),
        ("blank filter", fits_bytes(FILTER=""), "header.missing", "FILTER"),
    ]  # fmt: skip


def make_bad_inputs(folder: Path) -> list[BadInput]:
    """Write every bad input into a folder."""
    folder = Path(folder)
    found = _file_faults(folder)
    makers: tuple[Callable[[], list[Fault]], ...] = (
        _packing_faults, _not_fits, _header_faults, _size_faults, _pixel_faults, _tile_faults,
        _card_faults,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy rightly dislikes some of these
        for name, content, code, mention in (fault for make in makers for fault in make()):
            path = folder / f"{name.replace(' ', '_').replace('.', '')}.fits"
            path.write_bytes(content)
            found.append(BadInput(name, path, code, mention))
    return found


def _good_contents() -> dict[str, bytes]:
    plain = fits_bytes()
    mef = BytesIO()
    fits.HDUList(
        [fits.PrimaryHDU(), fits.ImageHDU(stars(), name="A"), fits.ImageHDU(stars(), name="B")]
    ).writeto(mef)
    odd = replaced(plain, "FILTER", "COMMENT   This image was taken. / Mode of image request")
    odd = replaced(odd, "EXPTIME", "EXPTIME = 060.00 / Exposure time in Seconds")
    many = fits.Header([(f"K{n:06d}", n) for n in range(20_000)])
    crowded = BytesIO()
    fits.PrimaryHDU(stars(), many).writeto(crowded)
    strings = fits.PrimaryHDU(stars())
    strings.header["LONGTEXT"] = "word " * 60
    strings.header["HIERARCH ESO INS GRAT ID"] = "R1200"
    continued = BytesIO()
    strings.writeto(continued)
    return {
        "plain.fits": plain,
        "int16.fits": fits_bytes(stars().astype(np.int16)),
        "int32.fits": fits_bytes(stars().astype(np.int32)),
        "float32.fits": fits_bytes(stars().astype(np.float32)),
        "float64.fits": fits_bytes(stars().astype(np.float64)),
        "tiled.fits.fz": tiled_bytes(),
        "tiled_in_gzip.fits.fz.gz": gzip.compress(tiled_bytes()),
        "packed.fits.gz": gzip.compress(plain),
        "packed.fits.bz2": bz2.compress(plain),
        "packed.fits.xz": lzma.compress(plain),
        "gzip_without_the_name.fits": gzip.compress(plain),
        "plain_with_the_name.fits.gz": plain,
        "several.fits": mef.getvalue(),
        "unpadded.fits": plain[: BLOCK + 4800],
        "trailing_junk.fits": plain + b"\r\nuploaded by ftp\r\n",
        "one_plane_cube.fits": fits_bytes(stars()[None]),
        "odd_cards.fits": odd,
        "twenty_thousand_cards.fits": crowded.getvalue(),
        "long_strings.fits": continued.getvalue(),
        "duplicate_card.fits": replaced(plain, "FILTER", "RA      =                151.1"),
        "accents.fits": replaced(plain, "FILTER", "FILTER  = 'Grün\xfcn'"),
        "unprintable.fits": replaced(plain, "FILTER", "FILTER  = '\x01\x02R\x7f'"),
        "card_of_noise.fits": replaced(plain, "FILTER", "\xff" * 80),
        "unclosed_string.fits": replaced(plain, "FILTER", "FILTER  = 'R"),
    }


def make_good_inputs(folder: Path) -> list[Path]:
    """Write good files, some of them odd, whose (first) image is `stars`."""
    paths = []
    for name, content in _good_contents().items():
        path = Path(folder) / name
        path.write_bytes(content)
        paths.append(path)
    return paths
