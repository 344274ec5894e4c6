"""Opens a DICOM object, and lets none of pydicom's words out: its warnings and exceptions quote the file."""

from __future__ import annotations

import io
import logging
import re
import struct
import warnings
from collections.abc import Callable
from typing import TypeVar

import pydicom
from pydicom.multival import MultiValue
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from batch_fracture.codes import Code
from batch_fracture.decode.dicom_limits import Metered
from batch_fracture.decode.inflating_file import InflatingFile
from batch_fracture.errors import ImageError

T = TypeVar("T")

DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
"""Deflated Image Frame Compression (PS3.5 A.4.13), which pydicom 3.0.2 does not list."""
MAX_INFLATED_BYTES = 2**30
_MAX_TEXT = 64
"""Characters of the longest value that an allow-listed element may have (PS3.5 6.2: LO, UI)."""
_CODE_STRING = re.compile(r"[A-Z0-9 _]{0,16}")
_TRANSFER_SYNTAX = b"\x02\x00\x10\x00UI"
_META_START, _GROUP_LENGTH_END = 132, 144
_UNDEFINED = 0xFFFFFFFF

logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # its warnings quote values, to whoever listens


def parse(
    content: bytes, *, header_only: list[str] | None = None, max_bytes: int | None = None
) -> pydicom.Dataset:
    """Parse what stands before the pixels of an object, with or without a preamble.

    Of a deflated object no more is inflated than that.

    Args:
        content: the whole object.
        header_only: read these keywords only; None reads all.
        max_bytes: that a deflated object may inflate to; None for `MAX_INFLATED_BYTES`.

    Raises:
        ImageError: `TRUNCATED`, `CORRUPT`, or `TOO_LARGE` when it inflates, or its header grows, beyond
            measure.
    """
    limit = max_bytes or MAX_INFLATED_BYTES
    file = guard(lambda: _opened(content, limit))
    try:
        dataset = guard(
            lambda: pydicom.dcmread(file, force=True, stop_before_pixels=True, specific_tags=header_only)
        )
    except ImageError:
        file.check()
        raise
    if isinstance(file, InflatingFile) and guard(lambda: _end_of_pixels(file)) > limit:
        raise ImageError(Code.TOO_LARGE, f"the DICOM object inflates to more than {limit:,} bytes")
    return dataset


def plain_bytes(content: bytes, dataset: pydicom.Dataset) -> tuple[bytes, int]:
    """The object inflated, not copied, and the offset of the element at which `parse` stopped: the pixels.

    Args:
        content: the whole object.
        dataset: what `parse` gave for it.

    Raises:
        ImageError: as `parse`.
    """
    file = dataset.buffer
    assert isinstance(file, io.BytesIO)  # noqa: S101 - parse gave it
    at = file.tell()
    if isinstance(file, InflatingFile):
        return guard(lambda: file.complete(_end_of_pixels(file))), at
    return content, at


def _end_of_pixels(file: InflatingFile) -> int:
    """Where the element ends at which parsing stopped, in explicit little endian (PS3.5 A.5)."""
    at = file.tell()
    header = file.read(12)
    file.seek(at)
    length = int.from_bytes(header[8:], "little")
    return at + len(header) + (length if length != _UNDEFINED else 0)


def transfer_syntax(content: bytes, dataset: pydicom.Dataset) -> str | None:
    """Transfer Syntax UID, if PS3.6 A lists it; without a file header, what the elements themselves show."""
    declared = _declared_syntax(content) or dataset.file_meta.get("TransferSyntaxUID")
    if declared:
        is_listed = declared == DEFLATED_FRAME or UID(str(declared)).type == "Transfer Syntax"
        return str(declared) if is_listed else None
    is_implicit, is_little = dataset.original_encoding
    if is_implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian)


def text(dataset: pydicom.Dataset, keyword: str) -> str | None:
    """A value as text; None when it is empty, or not a short printable string as the standard asks for."""
    value = dataset.get(keyword)
    if isinstance(value, MultiValue):
        value = "\\".join(map(str, value))
    written = str(value).strip() if value is not None else ""
    return written if 0 < len(written) <= _MAX_TEXT and written.isprintable() else None


def code_string(dataset: pydicom.Dataset, keyword: str) -> str | None:
    """A Code String (PS3.5 6.2), or several; None for free text that somebody typed into its place."""
    value = text(dataset, keyword)
    return value if value and all(map(_CODE_STRING.fullmatch, value.split("\\"))) else None


def uid(value: object) -> str | None:
    """A UID (PS3.5 9.1); None for anything else that stands in its place."""
    return str(value) if re.fullmatch(r"[0-9.]{1,64}", str(value)) else None


def number(dataset: pydicom.Dataset, keyword: str) -> int | None:
    """A value as an integer; None when it is missing or empty."""
    value = dataset.get(keyword)
    return int(value) if value not in (None, "") else None


def first(value: object) -> float | None:
    """The first of one or several decimal strings; None when it is missing or empty."""
    if value is None or value == "":
        return None
    return float(value[0] if isinstance(value, MultiValue) else value)  # type: ignore[arg-type]


def guard(read: Callable[[], T]) -> T:
    """Run one call into pydicom; whatever it raises becomes a code and our own words."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read()
    except (ImageError, MemoryError):
        raise
    except (EOFError, struct.error) as error:  # a number of fewer bytes than it should have
        raise ImageError(Code.TRUNCATED, "the DICOM object ends early") from error
    except Exception as error:  # pydicom raises nearly every built-in type on damaged input
        raise ImageError(Code.CORRUPT, f"the DICOM object is damaged ({type(error).__name__})") from error


def _declared_syntax(content: bytes) -> str | None:
    """Transfer Syntax UID of the file header, which is always explicit little endian (PS3.10 7.1)."""
    if content[128:132] != b"DICM":
        return None
    at = content.find(_TRANSFER_SYNTAX, _META_START, _META_START + 1024)
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    return content[at + 8 : at + 8 + length].decode("ascii", "replace").rstrip("\0 ") if at > 0 else None


def _opened(content: bytes, max_bytes: int) -> Metered:
    """The object as a file; a deflated one (PS3.5 A.5) inflates as it is read, and says that it is plain."""
    if _declared_syntax(content) != DeflatedExplicitVRLittleEndian:
        return Metered(content)
    body_at = _GROUP_LENGTH_END + int.from_bytes(content[140:144], "little")
    deflated, plain = DeflatedExplicitVRLittleEndian.encode(), ExplicitVRLittleEndian.encode()
    head = content[:body_at].replace(deflated, plain.ljust(len(deflated), b"\0"))
    return InflatingFile(head, memoryview(content)[body_at:], max_bytes)
