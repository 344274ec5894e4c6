"""Plants a canary: an archive of DICOM objects, rasters, letters and broken files, full of markers."""

from __future__ import annotations

import os
import random
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import drawing
import numpy as np
from canary import NAME, TEXT, Canary
from canary_dicom import dicom_files
from PIL import Image, TiffImagePlugin

GREY = drawing.grey()
STALL, CRASH = "stall-here", "crash-here"
"""Parts of two names, for failpoints; these files come last."""
NUM_LETTERS = 220
"""So that a unit is done (100 rows, two blocks of 64) while Ray holds a few back and the last one hangs."""
EXIF_TEXTS = (0x010D, 0x010E, 0x010F, 0x0110, 0x0131, 0x013B, 0x013C, 0x8298)
EXIF_PHOTO_TEXTS = (0x9003, 0x9010, 0x9290, 0xA420, 0xA430, 0xA431, 0xA433, 0xA434, 0xA435)
GPS_TEXTS = (0x01, 0x08, 0x12, 0x1D)
TIFF_TEXTS = (269, 270, 271, 272, 285, 305, 306, 315, 316, 33432, 65000)
TIFF_BYTES = (700, 33723, 34377, 50839, 65001)
"""XMP, IPTC, Photoshop, ImageJ, private."""


def plant(folder: Path, *, seed: int | None = None) -> tuple[Canary, Path]:
    """Write the archive; returns its markers and the SOURCE to name."""
    canary = Canary(rng=random.Random(seed))
    source = folder / f"archive {canary.mark(NAME, 'source')}"
    rasters = raster_files(canary)
    broken = {f"cut-{name}": content[: len(content) * 7 // 10] for name, content in rasters.items()}
    broken |= {f"hurt-{name}": _hurt(content) for name, content in rasters.items()}
    groups = {
        "dicom": {f"{stem}.dcm": content for stem, content in dicom_files(canary).items()},
        "rasters": rasters,
        "broken": broken,
        "letters": letters(canary),
    }
    now = int(time.time())
    for group, files in groups.items():
        below = source / f"{group} {canary.mark(NAME, 'folder')}"
        below.mkdir(parents=True)
        for name, content in files.items():
            path = below / f"{canary.mark(NAME, 'file')} {name}"
            path.write_bytes(content)
            os.utime(path, (now, now - 1000 * (STALL in name) - 500 * (CRASH in name)))
    _odd_names(canary, source, folder)
    return canary, source


def _odd_names(canary: Canary, source: Path, folder: Path) -> None:
    picture = drawing.saved(GREY, "PNG")
    for odd in ("a b#1.png", "100%41.png", "quote\"'.png", "Ä 肩.png", "new\nline.png"):
        (source / f"{canary.mark(NAME, 'odd file')}{odd}").write_bytes(picture)
    not_utf8 = os.fsencode(source / canary.mark(NAME, "name that is not UTF-8")) + b"\xff.png"
    Path(os.fsdecode(not_utf8)).write_bytes(picture)
    nowhere = folder / canary.mark(NAME, "target of a broken link")
    (source / f"{canary.mark(NAME, 'broken link')}.png").symlink_to(nowhere)
    elsewhere = folder / canary.mark(NAME, "target of a link")
    elsewhere.mkdir()
    (elsewhere / f"{canary.mark(NAME, 'file behind a link')}.png").write_bytes(picture)
    (source / canary.mark(NAME, "link")).symlink_to(elsewhere)


def letters(canary: Canary) -> dict[str, bytes]:
    """What is no image, and images that no decoder here reads."""
    files = {f"{number}.txt": canary.text(f"letter {number}").encode() for number in range(NUM_LETTERS)}
    heads = {
        "pdf": b"%PDF-1.4\n%", "zip": b"PK\x03\x04", "gz": b"\x1f\x8b", "html": b"<html>",
        "jp2": b"\xff\x4f\xff\x51", "heic": b"\0\0\0\x18ftypheic", "psd": b"8BPS", "bin": b"\0\1\2",
        "csv": b"name;born\n",
    }  # fmt: skip
    for kind, head in heads.items():
        files[f"report.{kind}"] = head + canary.text(f"text of a {kind} file").encode() + bytes(64)
    return files


def raster_files(canary: Canary) -> dict[str, bytes]:
    """A picture of each container with all the places for text that it has."""
    exif = _exif(canary)
    files = {
        "photo.jpg": _jpeg(canary, exif),
        "scan.png": _png(canary, exif),
        f"{STALL}.png": _png(canary, exif),
        f"{CRASH}.jpg": _jpeg(canary, exif),
        "plain.tif": drawing.saved(GREY, "TIFF", tiffinfo=_tiff_tags(canary)),
        "packed.tif": drawing.saved(GREY, "TIFF", tiffinfo=_tiff_tags(canary), compression="tiff_lzw"),
        "deep.tif": drawing.saved(GREY.astype(np.uint16), "TIFF", tiffinfo=_tiff_tags(canary)),
        "film.gif": drawing.saved(GREY, "GIF", comment=canary.text("GIF comment").encode()),
        "gap.bmp": drawing.saved(GREY, "BMP") + canary.text("after the BMP's pixels").encode(),
        "wrong-type.tif": _tiff_of_text(canary.text("TIFF width that is text")),
        "later.webp": drawing.saved(
            Image.fromarray(GREY), "WEBP", exif=exif, xmp=canary.text("WebP XMP").encode(),
            icc_profile=canary.text("WebP ICC").encode(),
        ),
    }  # fmt: skip
    long_text = zlib.compress(canary.mark(TEXT, "PNG text of 5 MB", packed=True).encode() * 300_000)
    files["bomb.png"] = _png_with(drawing.png_chunk(b"zTXt", b"Comment\0\0" + long_text))
    bad = bytearray(drawing.png_chunk(b"tEXt", f"Name\0{canary.text('PNG text, bad checksum')}".encode()))
    bad[-1] ^= 255
    files["checksum.png"] = _png_with(bytes(bad))
    return files


def _exif(canary: Canary) -> Image.Exif:
    exif = Image.Exif()
    for tag in EXIF_TEXTS:
        exif[tag] = canary.text(f"Exif {tag:#06x}")
    for tag in range(0x9C9B, 0x9CA0):  # XPTitle and its kin are UTF-16
        exif[tag] = canary.text(f"Exif {tag:#06x}").encode("utf-16-le")
    photo, gps = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    photo.update({tag: canary.text(f"Exif {tag:#06x}") for tag in EXIF_PHOTO_TEXTS})
    photo[0x9286] = b"ASCII\0\0\0" + canary.text("Exif UserComment").encode()
    photo[0x927C] = canary.text("Exif MakerNote").encode()
    gps.update({tag: canary.text(f"GPS {tag:#04x}") for tag in GPS_TEXTS})
    gps[0x1B] = b"ASCII\0\0\0" + canary.text("GPS processing method").encode()
    return exif


def _jpeg(canary: Canary, exif: Image.Exif) -> bytes:
    content = drawing.saved(GREY, "JPEG", exif=exif)
    bodies = {
        0xFE: [canary.text("JPEG comment")],
        0xE1: [f"http://ns.adobe.com/xap/1.0/\0<x>{canary.text('JPEG XMP')}</x>"],
        0xE2: [f"ICC_PROFILE\0\1\1{canary.text('JPEG ICC')}"],
        0xED: [f"Photoshop 3.0\08BIM\4\4\0\0\0\0\0\x15\x1c\2\x50\0\x10{canary.text('JPEG IPTC')}"],
        0xEF: [canary.text("JPEG private")],
    }
    segments = [(code, body.encode("latin-1")) for code, texts in bodies.items() for body in texts]
    extra = b"".join(bytes((255, code)) + struct.pack(">H", len(body) + 2) + body for code, body in segments)
    return content[:2] + extra + content[2:] + canary.text("after the JPEG's end").encode()


def _png(canary: Canary, exif: Image.Exif) -> bytes:
    def packed(place: str) -> bytes:
        return zlib.compress(canary.mark(TEXT, place, packed=True).encode())

    def text(place: str) -> bytes:
        return canary.text(f"PNG {place}").encode()

    chunk = drawing.png_chunk
    return _png_with(
        chunk(b"iCCP", text("profile name") + b"\0\0" + packed("PNG profile"))
        + b"".join(chunk(b"tEXt", text("key") + b"\0" + text(key)) for key in ("Author", "Comment"))
        + chunk(b"zTXt", text("packed key") + b"\0\0" + packed("PNG zTXt"))
        + chunk(b"iTXt", text("iTXt key") + b"\0\0\0de\0" + text("translated") + b"\0" + text("iTXt"))
        + chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed("PNG packed XMP"))
        + chunk(b"eXIf", exif.tobytes()[6:])
        + chunk(b"prVt", text("private"))
    ) + text("after the end")


def _png_with(chunks: bytes) -> bytes:
    content = drawing.saved(GREY, "PNG")
    return content[:33] + chunks + content[33:]


def _tiff_tags(canary: Canary) -> TiffImagePlugin.ImageFileDirectory_v2:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    kinds: dict[int, Any] = dict.fromkeys(TIFF_TEXTS, 2) | dict.fromkeys(TIFF_BYTES, 7)
    for tag, kind in kinds.items():
        marker = canary.text(f"TIFF {tag}")
        tags[tag] = marker if kind == 2 else marker.encode()
        tags.tagtype[tag] = kind
    return tags


def _tiff_of_text(text: str) -> bytes:
    """A TIFF whose width (256) is a text (type 2)."""
    entries = struct.pack("<HHHII", 1, 256, 2, len(text), 26) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + entries + text.encode()


def _hurt(content: bytes) -> bytes:
    """With every 50th byte of its second half turned."""
    hurt = bytearray(content)
    for at in range(len(hurt) // 2, len(hurt), 50):
        hurt[at] ^= 0x5A
    return bytes(hurt)
