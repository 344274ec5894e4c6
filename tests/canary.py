"""A canary: an archive full of markers that nothing may repeat, and a search that knows their disguises.

Markers of one kind share a random beginning, so that one look for it clears a whole file; what is found
is then told apart by its end. A beginning alone is reported too: somebody cut the marker, but knew it.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import random
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TEXT, NUMBER, UID, NAME = "text", "number", "uid", "name"
CONTENT = (TEXT, NUMBER)
"""Kinds that must never leave a file. UID: study, series, instance; NAME: of files, folders, the source."""
PIECE = "a piece of a marker"
BEGINNING, LENGTH = 8, 16
"""Characters; 16 is what the shortest text elements of DICOM hold (PS3.5 6.2: AE, CS, SH, DS)."""


@dataclass(kw_only=True)
class Canary:
    """The markers that were planted."""

    rng: random.Random
    beginnings: dict[str, str] = field(init=False)
    planted: dict[str, dict[str, str]] = field(init=False)
    """Kind -> marker -> where it stands."""
    packed: set[str] = field(default_factory=set)
    """Markers that stand in compressed parts only, where `search` does not look."""

    def __post_init__(self) -> None:
        self.planted = {kind: {} for kind in (TEXT, NUMBER, UID, NAME)}
        self.beginnings = {kind: self._draw(kind, BEGINNING) for kind in self.planted}

    def mark(self, kind: str, place: str, *, packed: bool = False) -> str:
        """A new marker; the caller plants it at that place."""
        marker = self.beginnings[kind] + self._draw(kind, LENGTH - BEGINNING)
        self.planted[kind][marker] = place
        if packed:
            self.packed.add(marker)
        return marker

    def text(self, place: str) -> str:
        """16 capitals."""
        return self.mark(TEXT, place)

    def number(self, place: str) -> str:
        """16 digits, a part of a UID or a decimal string."""
        return self.mark(NUMBER, place)

    def of(self, *kinds: str) -> dict[str, str]:
        """Marker -> place."""
        return {marker: place for kind in kinds for marker, place in self.planted[kind].items()}

    def _draw(self, kind: str, length: int) -> str:
        letters = string.ascii_uppercase if kind in (TEXT, NAME) else "123456789"
        return "".join(self.rng.choices(letters, k=length))


def search(
    canary: Canary,
    kinds: Iterable[str],
    paths: Iterable[Path],
    texts: Mapping[str, str | bytes] | None = None,
) -> list[str]:
    """Every marker of these kinds that stands somewhere, in any form.

    Args:
        canary: what was planted.
        kinds: of the markers to look for.
        paths: files and folders; names of files and targets of links count as well as contents.
        texts: what was printed, by name.

    Returns:
        Lines of marker, place, form and where it was found; none when nothing leaked.
    """
    found = []
    blobs = [(name, text.encode() if isinstance(text, str) else text) for name, text in (texts or {}).items()]
    for where, blob in (*blobs, *(view for path in paths for view in _views(path))):
        straight = blob.translate(None, b"\r\n")  # encoded text is broken into lines
        folded = straight.lower()
        for kind in kinds:
            for form, needle in forms(canary.beginnings[kind]).items():
                if needle in (folded if _is_folded(form) else straight):
                    found += _tell_apart(canary, kind, form, folded if _is_folded(form) else straight, where)
    return found


def _tell_apart(canary: Canary, kind: str, form: str, blob: bytes, where: str) -> Iterator[str]:
    """What begins with the kind's beginning: known markers, else pieces."""
    known = {forms(marker)[form]: marker for marker in canary.planted[kind]}
    beginning, length = forms(canary.beginnings[kind])[form], len(next(iter(known), b""))
    seen = set()
    at = blob.find(beginning)
    while at >= 0:
        marker = known.get(blob[at : at + length])
        if marker not in seen and (marker or kind in (TEXT, NAME)):  # eight digits alone are no proof
            seen.add(marker)
            what = f"{marker} ({canary.planted[kind][marker]})" if marker else PIECE
            yield f"{what} as {form} in {where}"
        at = blob.find(beginning, at + 1)


@functools.cache
def forms(marker: str) -> dict[str, bytes]:
    """A marker's disguises, by name; those that `_is_folded` are lower case, to be sought in lower case."""
    needles = {}
    for codec in ("utf-8", "utf-16"):
        for case, written in (("upper", marker.upper()), ("lower", marker.lower())):
            raw = _encoded(written, codec)
            needles[f"{codec} hex {case}"] = raw.hex().encode()
            for shift in range(3):
                needles[f"{codec} base64+{shift} {case}"] = _base64_core(raw, shift)
        needles[f"{codec} plain"] = _encoded(marker.lower(), codec)
    for case, written in (("upper", marker.upper()), ("lower", marker.lower())):
        for name, pattern in (("percent", "%{:02x}"), ("json", "\\u{:04x}"), ("escape", "\\x{:02x}")):
            needles[f"{name} {case}"] = "".join(pattern.format(ord(c)) for c in written).encode()
    return needles


def _encoded(text: str, codec: str) -> bytes:
    """UTF-16 without the outermost zero, so that either byte order holds it."""
    return text.encode() if codec == "utf-8" else text.encode("utf-16-le").removesuffix(b"\0")


def _is_folded(form: str) -> bool:
    return "base64" not in form


def _base64_core(raw: bytes, shift: int) -> bytes:
    """The characters that do not depend on neighbours, when `shift` bytes of a group of three precede."""
    encoded = base64.b64encode(bytes(shift) + raw)
    return encoded[-(-8 * shift // 6) : 8 * (shift + len(raw)) // 6]


def _views(path: Path) -> Iterator[tuple[str, bytes]]:
    """Everything that can be read of a file or folder: names, contents, and what is packed in them."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        name = str(file.relative_to(path)) if file != path else file.name
        yield f"the name of {name}", name.encode(errors="surrogateescape")
        if file.is_symlink():
            yield f"the target of {name}", str(file.readlink()).encode(errors="surrogateescape")
        elif file.is_file():
            content = file.read_bytes()
            yield name, content
            yield from ((f"{name} ({part})", inner) for part, inner in _unpacked(content))


def _unpacked(content: bytes) -> Iterator[tuple[str, bytes]]:
    for codec, signature in (("gzip", b"\x1f\x8b"), ("zstd", b"\x28\xb5\x2f\xfd")):
        if content.startswith(signature):
            with contextlib.suppress(OSError):
                yield codec, pa.CompressedInputStream(pa.BufferReader(content), codec).read()
    if content.startswith(b"PAR1"):
        with contextlib.suppress(pa.ArrowInvalid, OSError):
            yield from _parquet_parts(pq.ParquetFile(pa.BufferReader(content)))


def _parquet_parts(file: pq.ParquetFile) -> Iterator[tuple[str, bytes]]:
    for name, column in zip(file.schema_arrow.names, file.read().columns, strict=True):
        buffers = [buffer for chunk in column.chunks for buffer in chunk.buffers() if buffer]
        yield f"column {name}", b"".join(buffer.to_pybytes() for buffer in buffers)
    footer = [str(file.metadata.metadata), str(file.schema_arrow.to_string(show_schema_metadata=True))]
    for group in range(file.metadata.num_row_groups):
        columns = map(file.metadata.row_group(group).column, range(file.metadata.num_columns))
        ranges = [c.statistics for c in columns if c.statistics and c.statistics.has_min_max]
        footer += [f"{each.min} {each.max}" for each in ranges]
    yield "footer", "\n".join(footer).encode()
