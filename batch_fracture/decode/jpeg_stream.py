"""The markers of JPEG and JPEG-LS codestreams (ITU-T T.81 annex B, T.87 annex C), and the proof of their end.

A decoder fills in what is missing without a word; here the end marker must stand where the last scan ends,
and the scans must bring every component and every bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from batch_fracture.codes import Code
from batch_fracture.errors import ImageError

Tables = dict[tuple[int, int], dict[int, int]]
"""(class, destination) of a Huffman table -> {symbol: bits of its code} (T.81 C.2)."""

BASELINE, EXTENDED, PROGRESSIVE, LOSSLESS, JPEG_LS = 0xC0, 0xC1, 0xC2, 0xC3, 0xF7
_SOF = frozenset({*range(0xC0, 0xD0), JPEG_LS}) - {0xC4, 0xC8, 0xCC}
_SOI, _EOI, _SOS, _DHT, _DRI, _APP0, _APP14 = 0xD8, 0xD9, 0xDA, 0xC4, 0xDD, 0xE0, 0xEE
_BYTES = np.arange(256)
_NO_MARKERS = np.isin(_BYTES, [0x00, *range(0xD0, 0xD8), 0xFF])
"""bool (256,): what follows 0xFF within entropy-coded data: a stuffed zero, a restart, or a fill (T.81
B.1.1.2, B.1.1.5)."""
_NO_MARKERS_LS = (_BYTES < 0x80) | (_BYTES == 0xFF)
"""In JPEG-LS a byte below 0x80, for a zero bit is stuffed (T.87 A.1), or a fill."""
_FIRST_BLOCK_BYTES, _BLOCK_BYTES = 2**9, 2**16
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""TEM and restarts have no length (T.81 B.1.1.3); another frame header could hide behind one of theirs."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One scan (T.81 B.2.3)."""

    components: tuple[int, ...]
    """Their identifiers."""
    dc_tables: tuple[int, ...]
    """Destination of each one's DC (or lossless) Huffman table."""
    first: int
    """Ss: first coefficient, or the predictor of a lossless scan."""
    last: int
    """Se."""
    high: int
    """Ah."""
    low: int
    """Al: the point transform, or the lowest bit that this scan brings."""
    start: int
    """Offset of the entropy-coded data."""
    stop: int
    """Offset of the marker that ends it."""
    restart_interval: int
    tables: Tables


@dataclass(frozen=True, kw_only=True)
class JpegStream:
    """What stands in a complete codestream."""

    process: int
    """The SOF marker's second byte."""
    precision: int
    rows: int
    columns: int
    components: tuple[int, ...]
    """Identifiers, in order."""
    is_subsampled: bool
    scans: tuple[Scan, ...]
    length: int
    """Bytes up to and with the end marker."""
    has_jfif: bool = False
    adobe_transform: int | None = None
    """Of an APP14 marker segment (T.872 6.5.3): 0 RGB, 1 YCbCr."""


@dataclass(kw_only=True)
class _Walk:
    stream: memoryview
    process: int = 0
    frame: bytes = b""
    interval: int = 0
    has_jfif: bool = False
    adobe: int | None = None
    tables: Tables = field(default_factory=dict)
    scans: list[Scan] = field(default_factory=list)


def read_stream(stream: memoryview) -> JpegStream:
    """Walk the markers to the end.

    Raises:
        ImageError: `TRUNCATED` when the end marker or a scan is missing, `CORRUPT` when one is malformed.
    """
    if bytes(stream[:2]) != bytes((0xFF, _SOI)):
        raise ImageError(Code.CORRUPT, "a compressed frame does not begin as JPEG")
    walk, at = _Walk(stream=stream), 2
    while at + 2 <= len(stream):
        if stream[at] != 0xFF or stream[at + 1] == 0:
            raise ImageError(Code.CORRUPT, "a JPEG segment does not begin with a marker")
        marker = stream[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _STANDALONE:
            at += 2
        elif marker == _EOI:
            return _finished(walk, at + 2)
        else:
            at = _segment(walk, marker, at + 2)
    raise ImageError(Code.TRUNCATED, "the compressed frame ends before its end marker")


def count_pairs(entropy: memoryview, lowest: int, highest: int) -> int:
    """How often 0xFF stands before a byte of this range in entropy-coded data, both ends included."""
    bytes_N = np.frombuffer(entropy, np.uint8)
    after_N = bytes_N[1:]
    return int(np.count_nonzero((bytes_N[:-1] == 0xFF) & (after_N >= lowest) & (after_N <= highest)))


def _segment(walk: _Walk, marker: int, at: int) -> int:
    """Take in one marker segment; where the next begins."""
    length = int.from_bytes(walk.stream[at : at + 2])
    if at + max(2, length) > len(walk.stream):
        raise ImageError(Code.TRUNCATED, "the compressed frame ends within a marker segment")
    if length < 2:
        raise ImageError(Code.CORRUPT, "a JPEG marker segment has no length")
    body = bytes(walk.stream[at + 2 : at + length])
    if marker in _SOF:
        if walk.process:
            raise ImageError(Code.CORRUPT, "the JPEG has two frame headers")
        walk.process, walk.frame = marker, body
    elif marker == _DHT:
        _read_tables(body, walk.tables)
    elif marker == _DRI:
        walk.interval = int.from_bytes(body)
    elif marker == _APP0 and body.startswith(b"JFIF\0"):
        walk.has_jfif = True
    elif marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
        walk.adobe = body[11]
    elif marker == _SOS:
        return _read_scan(walk, body, at + length)
    return at + length


def _read_tables(body: bytes, tables: Tables) -> None:
    at = 0
    while at + 17 <= len(body):
        counts, symbols_at = body[at + 1 : at + 17], at + 17
        symbols = body[symbols_at : symbols_at + sum(counts)]
        lengths = [length for length, count in enumerate(counts, start=1) for _ in range(count)]
        tables[body[at] >> 4, body[at] & 15] = dict(zip(symbols, lengths, strict=False))
        at = symbols_at + sum(counts)


def _read_scan(walk: _Walk, body: bytes, start: int) -> int:
    num = body[0] if body else 0
    if not walk.process or len(body) < 4 + 2 * num or not num:
        raise ImageError(Code.CORRUPT, "a JPEG scan has no header")
    stop = _end_of_scan(walk.stream, start, _NO_MARKERS_LS if walk.process == JPEG_LS else _NO_MARKERS)
    if stop is None:
        raise ImageError(Code.TRUNCATED, "the compressed frame ends before its end marker")
    walk.scans.append(
        Scan(
            components=tuple(body[1 : 1 + 2 * num : 2]),
            dc_tables=tuple(selector >> 4 for selector in body[2 : 2 + 2 * num : 2]),
            first=body[1 + 2 * num],
            last=body[2 + 2 * num],
            high=body[3 + 2 * num] >> 4,
            low=body[3 + 2 * num] & 15,
            start=start,
            stop=stop,
            restart_interval=walk.interval,
            tables=dict(walk.tables),
        )
    )
    return stop


def _end_of_scan(stream: memoryview, start: int, no_markers: npt.NDArray[np.bool_]) -> int | None:
    """Offset of the first marker, or of the fill bytes before it; in numpy, for scans are megabytes long."""
    bytes_N: npt.NDArray[np.uint8] = np.frombuffer(stream, np.uint8)
    at, block_bytes = start, min(_FIRST_BLOCK_BYTES, _BLOCK_BYTES)  # a file may hold thousands of tiny scans
    while at < len(bytes_N) - 1:
        block_N = bytes_N[at : at + block_bytes + 1]
        places = np.flatnonzero(block_N[:-1] == 0xFF)
        places = places[~no_markers[block_N[places + 1]]]
        if len(places):
            stop = at + int(places[0])
            while stop > start and stream[stop - 1] == 0xFF:
                stop -= 1
            return stop
        at, block_bytes = at + block_bytes, min(2 * block_bytes, _BLOCK_BYTES)
    return None


def _finished(walk: _Walk, length: int) -> JpegStream:
    frame = walk.frame
    if len(frame) < 6 or len(frame) < 6 + 3 * frame[5]:
        raise ImageError(Code.CORRUPT, "the JPEG has no frame header")
    factors = frame[7 : 6 + 3 * frame[5] : 3]
    stream = JpegStream(
        process=walk.process,
        precision=frame[0],
        rows=int.from_bytes(frame[1:3]),
        columns=int.from_bytes(frame[3:5]),
        components=tuple(frame[6 : 6 + 3 * frame[5] : 3]),
        is_subsampled=len(set(factors)) > 1,
        scans=tuple(walk.scans),
        length=length,
        has_jfif=walk.has_jfif,
        adobe_transform=walk.adobe,
    )
    _prove_scans(stream)
    return stream


def _prove_scans(stream: JpegStream) -> None:
    """Every component is in some scan; a progressive frame has every coefficient to bit 0 (T.81 G.1.1)."""
    if stream.process != PROGRESSIVE:
        missing = set(stream.components) - {name for scan in stream.scans for name in scan.components}
    else:
        refined = {
            (name, place)
            for scan in stream.scans
            if scan.low == 0
            for name in scan.components
            for place in range(scan.first, scan.last + 1)
        }
        missing = {name for name in stream.components for place in range(64) if (name, place) not in refined}
    if missing:
        raise ImageError(Code.TRUNCATED, "the compressed frame lacks scans")
