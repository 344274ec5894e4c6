"""Bounds on what pydicom makes of a header: a few bytes can stand for thousands of objects.

An empty item takes 8 bytes in a file and 1,500 in memory, a number of a list 2 and 300. So what is read
before the pixels is counted, and a value that is longer than any that is used here is not taken apart.
"""

from __future__ import annotations

import io
from typing import Any

from pydicom import datadict, hooks
from pydicom.dataelem import RawDataElement

from batch_fracture.codes import Code
from batch_fracture.errors import ImageError

MAX_READS = 500_000
"""Each element takes pydicom one to three. Radiographs have some 200, enhanced objects 60 a frame."""
MAX_HEADER_BYTES = 64 * 2**20
"""Of the values before the pixels; overlays and private elements of radiographs stay below a tenth of it."""
MAX_LUT_BYTES = 2**18
"""A look-up table has at most 65,536 entries of two bytes (PS3.3 C.11.1.1.1)."""
MAX_SEQUENCE_BYTES = 2**20
MAX_VALUE_BYTES = 2**16
"""Of every other value; explicit VR allows no more (PS3.5 7.1.2)."""
_KEPT_AS_BYTES = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})


class Metered(io.BytesIO):
    """An object's bytes, of which only so many may be read, in only so many pieces."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._reads = 0
        self._read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As `io.BytesIO` reads, until there was too much of it; see `check`."""
        piece = super().read(size)
        self._reads += 1
        self._read_bytes += len(piece)
        self.check()
        return piece

    def check(self) -> None:
        """See that the limits have not been passed; pydicom turns what `read` raises into other exceptions.

        Raises:
            ImageError: `TOO_LARGE`.
        """
        if self._reads > MAX_READS or self._read_bytes > MAX_HEADER_BYTES:
            raise ImageError(Code.TOO_LARGE, "the DICOM header has too many elements, or too long ones")


def _take_apart(raw: RawDataElement, data: dict[str, Any], **options: Any) -> None:
    """The conversion of an element by pydicom, unless its value is out of all proportion."""
    vr = data["VR"]
    if vr not in _KEPT_AS_BYTES and len(raw.value or b"") > _max_bytes(vr, raw.tag):
        raise ImageError(Code.CORRUPT, "an element of the DICOM header is longer than any of its kind")
    hooks.raw_element_value(raw, data, **options)


def _max_bytes(vr: str, tag: int) -> int:
    if vr in ("US or OW", "US or SS or OW"):
        return MAX_LUT_BYTES
    is_sequence = vr == "SQ" and datadict.dictionary_has_tag(tag) and datadict.dictionary_VR(tag) == "SQ"
    return MAX_SEQUENCE_BYTES if is_sequence else MAX_VALUE_BYTES


hooks.hooks.register_callback("raw_element_value", _take_apart)
