"""Small whole files of every format and transfer syntax that the decoder knows: what the fuzzer breaks."""

from __future__ import annotations

import functools
import struct
from typing import Any

import drawing
import imagecodecs
import numpy as np
from PIL import Image

MARKER = "pLanted-4711"
"""Stands in every free text of the seeds, and may stand in no message and in no column but manufacturer."""
GREY = drawing.grey(24, 20)
DEEP = GREY.astype(np.uint16) * 16
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=2)
PNG_START = b"\x89PNG\r\n\x1a\n"


@functools.cache
def rasters() -> dict[str, bytes]:
    """JPEG, PNG, TIFF, GIF, BMP and WebP, and what only looks like an image."""
    files = {name: content for name, content in drawing.one_of_each().items() if "dicom" not in name}
    return files | _jpegs() | _pngs() | _tiffs() | _several() | _no_images()


def _jpegs() -> dict[str, bytes]:
    colour = Image.fromarray(COLOUR)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 8, MARKER
    return {
        "jpeg-comment": drawing.saved(GREY, "JPEG", comment=MARKER, exif=exif),
        "jpeg-420": drawing.saved(colour, "JPEG", subsampling=2, optimize=True),
        "jpeg-422": drawing.saved(colour, "JPEG", subsampling=1, progressive=True),
        "jpeg-rgb": imagecodecs.jpeg8_encode(COLOUR, colorspace="rgb", outcolorspace="rgb"),
        "jpeg-grey-progressive": drawing.saved(GREY, "JPEG", progressive=True),
        "jpeg-12": imagecodecs.jpeg8_encode(DEEP, bitspersample=12),
        "jpeg-lossless": imagecodecs.jpeg8_encode(GREY, lossless=True),
        "jpeg-arithmetic": drawing.saved(GREY, "JPEG").replace(b"\xff\xc0", b"\xff\xc9"),
    }


def _pngs() -> dict[str, bytes]:
    grey, colour = Image.fromarray(GREY), Image.fromarray(COLOUR)
    rows = b"".join(
        b"\0" + GREY[top::down, left::across][row].tobytes()
        for left, top, across, down in
        ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        for row in range(len(GREY[top::down]))
    )  # fmt: skip
    said = b"".join(
        (
            drawing.png_chunk(b"tEXt", b"Comment\0" + MARKER.encode()),
            drawing.png_chunk(b"zTXt", b"Title\0\0" + imagecodecs.zlib_encode(MARKER.encode() * 9)),
            drawing.png_chunk(b"iTXt", b"Author\0\1\0\0\0" + imagecodecs.zlib_encode(MARKER.encode() * 9)),
            drawing.png_chunk(b"iCCP", b"profile\0\0" + imagecodecs.zlib_encode(bytes(999))),
            drawing.png_chunk(b"gAMA", struct.pack(">I", 45455)),
        )
    )
    plain = b"".join(b"\0" + row.tobytes() for row in GREY)
    return {
        "png-1": drawing.saved(grey.convert("1"), "PNG"),
        "png-4": drawing.saved(grey.quantize(12), "PNG", bits=4),
        "png-grey-alpha": drawing.saved(grey.convert("LA"), "PNG"),
        "png-interlaced": drawing.png(24, 20, raw=rows, interlaced=True),
        "png-said": drawing.png(24, 20, raw=plain, extra=said),
        "png-rgb-16": imagecodecs.png_encode(COLOUR.astype(np.uint16) * 200),
        "png-rgba-16": imagecodecs.png_encode(np.dstack([COLOUR, GREY]).astype(np.uint16) * 200),
        "png-rgb": drawing.saved(colour, "PNG", dpi=(300, 300), icc_profile=bytes(200)),
    }


def tiff(
    tags: dict[int, tuple[int, list[int]]], blocks: list[bytes], *, order: str = "<", big: bool = False
) -> bytes:
    """A TIFF of one page; `tags`: field type and values; 273 or 324 stands for the blocks' offsets."""
    word, head = ("Q", 16) if big else ("I", 8)
    count_format, entry_bytes = ("Q", 20) if big else ("H", 12)
    start = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}H", 43 if big else 42)
    start += struct.pack(f"{order}HHQ", 8, 0, 16) if big else struct.pack(f"{order}I", 8)
    beyond = head + struct.calcsize(count_format) + len(tags) * entry_bytes + struct.calcsize(word)
    sizes = {tag: struct.calcsize(f"<{len(values)}{_KINDS[kind]}") for tag, (kind, values) in tags.items()}
    blocks_at = beyond + sum(size for size in sizes.values() if size > struct.calcsize(word))
    offsets = [blocks_at + sum(map(len, blocks[:number])) for number in range(len(blocks))]
    entries, values_after = struct.pack(order + count_format, len(tags)), b""
    for tag, (kind, given) in sorted(tags.items()):
        values = offsets if tag in (273, 324) else given
        packed = struct.pack(f"{order}{len(values)}{_KINDS[kind]}", *values)
        if len(packed) > struct.calcsize(word):
            place, values_after = struct.pack(order + word, beyond + len(values_after)), values_after + packed
        else:
            place = packed.ljust(struct.calcsize(word), b"\0")
        entries += struct.pack(f"{order}HH{word}", tag, kind, len(values)) + place
    return start + entries + struct.pack(order + word, 0) + values_after + b"".join(blocks)


_KINDS = {1: "B", 2: "B", 3: "H", 4: "I", 16: "Q"}


def _tiffs() -> dict[str, bytes]:
    grey, colour = Image.fromarray(GREY), Image.fromarray(COLOUR)
    size = {256: (3, [20]), 257: (3, [24]), 259: (3, [1]), 262: (3, [1]), 277: (3, [1]), 258: (3, [8])}
    tiles = [
        np.pad(GREY[top : top + 16, left : left + 16], ((0, max(0, top - 8)), (0, 12 * (left > 0)))).tobytes()
        for top in (0, 16) for left in (0, 16)
    ]  # fmt: skip
    tiled = {322: (3, [16]), 323: (3, [16]), 324: (4, [0] * 4), 325: (4, [256] * 4)}
    packed = [imagecodecs.zlib_encode(tile) for tile in tiles]
    deep = size | {262: (3, [2]), 258: (3, [16] * 3), 277: (3, [3]), 278: (3, [24]), 273: (4, [0])}
    deep |= {279: (4, [2 * COLOUR.size])}
    planes = [np.ascontiguousarray(COLOUR[..., plane]).astype("<u2").tobytes() for plane in range(3)]
    planar = deep | {284: (3, [2]), 273: (4, [0] * 3), 279: (4, [2 * GREY.size] * 3)}
    return {
        "tiff-tiles": tiff(size | tiled, tiles),
        "tiff-tiles-deflate": tiff(
            size | tiled | {259: (3, [8]), 325: (4, [len(tile) for tile in packed])}, packed, order=">"
        ),
        "tiff-big": drawing.saved(grey, "TIFF", big_tiff=True),
        "tiff-big-tiles": tiff(size | tiled, tiles, big=True),
        "tiff-rgb-16": tiff(deep, [COLOUR.astype("<u2").tobytes()]),
        "tiff-rgb-16-planar": tiff(planar, planes),
        "tiff-said": drawing.saved(colour, "TIFF", description=MARKER, software=MARKER),
        "tiff-1": drawing.saved(grey.convert("1"), "TIFF", compression="group4"),
        "tiff-palette": drawing.saved(colour.quantize(16), "TIFF", compression="tiff_lzw"),
        "tiff-cmyk": drawing.saved(colour.convert("CMYK"), "TIFF", compression="packbits"),
        "tiff-32": drawing.saved(Image.fromarray(GREY.astype(np.int32) * 999), "TIFF"),
        "tiff-zstd": drawing.saved(DEEP, "TIFF", compression="zstd"),
        "tiff-ycbcr": drawing.saved(colour.convert("YCbCr"), "TIFF", compression="jpeg"),
    }


def _several() -> dict[str, bytes]:
    pictures = drawing.frames(3)
    options: dict[str, Any] = {"save_all": True, "append_images": pictures[1:]}
    return {
        "gif-animated": drawing.saved(pictures[0], "GIF", **options, comment=MARKER.encode()),
        "webp-animated": drawing.saved(pictures[0].convert("RGB"), "WEBP", **options),
        "png-animated": drawing.saved(pictures[0], "PNG", **options),
        "tiff-pages": drawing.saved(pictures[0], "TIFF", **options),
        "gif-interlaced": drawing.saved(pictures[0], "GIF", interlace=1, comment=MARKER.encode()),
        "webp-alpha": drawing.saved(pictures[0].convert("RGBA"), "WEBP"),
        "bmp-24": drawing.saved(Image.fromarray(COLOUR), "BMP"),
        "bmp-1": drawing.saved(pictures[0].convert("1"), "BMP"),
    }


def _no_images() -> dict[str, bytes]:
    return {
        "text": f"image,label\n{MARKER},1\n".encode(),
        "pdf": b"%PDF-1.4\n" + MARKER.encode(),
        "empty": b"",
        "jp2": imagecodecs.jpeg2k_encode(GREY),
        "jls": imagecodecs.jpegls_encode(GREY),
        "heic": b"\0\0\0\x18ftypheic" + bytes(40),
    }
