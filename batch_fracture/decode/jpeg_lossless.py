"""The proof that a lossless JPEG frame came whole out of its decoder, which makes up what is missing.

The stored values say exactly how many bits they took: the Huffman code of each difference from its
prediction, and the difference's own bits (ITU-T T.81 H.1.2). So many bits must the scan have held.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from batch_fracture.codes import Code
from batch_fracture.decode.jpeg_stream import JpegStream, Scan, count_pairs
from batch_fracture.errors import ImageError

Values = npt.NDArray[Any]
Bits = npt.NDArray[np.int64]

_BLOCK_PIXELS = 2**18
_NO_CODE = 255
_MAX_EXTRA_BYTES = 16
"""Between the last bit and the end marker; more means that the decoder lost its way."""


def prove_complete(stream: JpegStream, codestream: memoryview, pixels: Values) -> None:
    """Compare the bytes of each scan with those that its decoded values need.

    Args:
        stream: the walked markers.
        codestream: its bytes.
        pixels: unsigned integers (rows, columns) or (rows, columns, components), as decoded.

    Raises:
        ImageError: `TRUNCATED` when a scan is too short, `CORRUPT` when it is too long, `UNSUPPORTED` for
            subsampled components or restarts within a row.
    """
    planes = pixels.reshape(*pixels.shape[:2], -1)
    for scan in stream.scans:
        if stream.is_subsampled or scan.restart_interval % stream.columns:
            raise ImageError(Code.UNSUPPORTED, "this layout of lossless JPEG is not supported")
        entropy = codestream[scan.start : scan.stop]
        interval_rows = scan.restart_interval // stream.columns or stream.rows
        bits_H = np.zeros(stream.rows, np.int64)
        for name, table in zip(scan.components, scan.dc_tables, strict=True):
            plane_HW = planes[..., stream.components.index(name)]
            bits_H += _row_bits(plane_HW, _costs(scan, table), scan, stream.precision, interval_rows)
        bits = np.add.reduceat(bits_H, np.arange(0, stream.rows, interval_rows))
        _compare(entropy, needed_bytes=int((-(-bits // 8)).sum()), num_restarts=len(bits) - 1)


def _compare(entropy: memoryview, *, needed_bytes: int, num_restarts: int) -> None:
    held_bytes = len(entropy) - count_pairs(entropy, 0x00, 0x00)  # less the stuffed zeros
    if num_restarts:
        if count_pairs(entropy, 0xD0, 0xD7) < num_restarts:
            raise ImageError(Code.TRUNCATED, "the compressed frame lacks restart markers")
        held_bytes -= 2 * num_restarts
    if held_bytes < needed_bytes:
        raise ImageError(
            Code.TRUNCATED, f"the compressed frame holds {held_bytes} of {needed_bytes} bytes of pixels"
        )
    if held_bytes > needed_bytes + _MAX_EXTRA_BYTES:
        raise ImageError(Code.CORRUPT, "the compressed frame's data is damaged")


def _costs(scan: Scan, table: int) -> npt.NDArray[np.uint8]:
    """Bits for each difference modulo 2^16, uint8 (65536,): its category's code and its own bits."""
    lengths = scan.tables.get((0, table))
    if lengths is None:
        raise ImageError(Code.CORRUPT, "the JPEG lacks a Huffman table")
    costs = np.full(2**16, _NO_CODE, np.uint8)
    magnitudes = np.abs(np.arange(2**16, dtype=np.uint16).view(np.int16).astype(np.int32))
    categories = np.ceil(np.log2(magnitudes + 1.0)).astype(np.int32)  # T.81 table H.2
    for category, length in lengths.items():
        costs[categories == category] = length + (category if category < 16 else 0)
    return costs


def _row_bits(
    plane_HW: Values, costs: npt.NDArray[np.uint8], scan: Scan, precision: int, interval_rows: int
) -> Bits:
    """Bits of each row of one component, int64 (rows,)."""
    bits = []
    for top, block_HW, above_W in _blocks(plane_HW):
        shifted_HW = (block_HW >> scan.low).astype(np.uint16, copy=False)
        before_HW = np.empty_like(shifted_HW)  # the row above each
        before_HW[1:] = shifted_HW[:-1]
        before_HW[0] = above_W >> scan.low
        predicted_HW = np.empty_like(shifted_HW)
        predicted_HW[:, 1:] = _predict(scan.first, shifted_HW[:, :-1], before_HW[:, 1:], before_HW[:, :-1])
        predicted_HW[:, 0] = before_HW[:, 0]  # T.81 H.1.2.1: first column from above, first row from the left
        for first in range(-top % interval_rows, len(block_HW), interval_rows):
            predicted_HW[first, 1:] = shifted_HW[first, :-1]
            predicted_HW[first, 0] = 1 << (precision - scan.low - 1)
        bits.append(costs[shifted_HW - predicted_HW].sum(axis=1, dtype=np.int64))
    return np.concatenate(bits)


def _blocks(plane_HW: Values) -> Iterator[tuple[int, Values, Values]]:
    """Blocks of rows: the first one's number, the block, and the row above it."""
    step = max(1, _BLOCK_PIXELS // plane_HW.shape[1])
    for top in range(0, plane_HW.shape[0], step):
        yield top, plane_HW[top : top + step], plane_HW[max(0, top - 1)]


def _predict(predictor: int, left: Values, above: Values, corner: Values) -> Values:
    """T.81 table H.1: Ra, Rb and Rc are the neighbours to the left, above, and above to the left."""
    if predictor in (1, 2, 3):
        return (left, above, corner)[predictor - 1]
    ra, rb, rc = (values.astype(np.int32) for values in (left, above, corner))
    match predictor:
        case 4:
            predicted = ra + rb - rc
        case 5:
            predicted = ra + ((rb - rc) >> 1)
        case 6:
            predicted = rb + ((ra - rc) >> 1)
        case 7:
            predicted = (ra + rb) >> 1
        case _:
            raise ImageError(Code.CORRUPT, "the lossless JPEG names no predictor")
    return np.asarray(predicted & 0xFFFF, dtype=np.uint16)
