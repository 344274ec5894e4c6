"""Images: from manifest entries to decoded rows. Bad input ends here, as a row with a code."""

from __future__ import annotations

import hashlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from batch_fracture import decode, store
from batch_fracture.codes import Code, Status
from batch_fracture.decode import ImageHeader
from batch_fracture.errors import ImageError
from batch_fracture.failpoints import failpoint
from batch_fracture.preprocess import InputSpec, read_input
from batch_fracture.settings import ReadingSettings
from batch_fracture.store import FROM_ENVIRONMENT, Access

Row = dict[str, Any]
"""A row of `schema.DECODED`; missing keys are null."""


def read_images(
    entries: Sequence[Row],
    spec: InputSpec,
    settings: ReadingSettings,
    access: Access = FROM_ENVIRONMENT,
    *,
    fetched: Callable[[], None] = lambda: None,
) -> Iterator[Row]:
    """Fetch, decode and prepare images, one row for each entry and in their order.

    Fetches are on their way when this returns; decoding waits for the first `next`.

    An alarm kills this process when an image is decoded for longer than `time_limit_s`, even inside C code.
    A fetch has a longer one (`store.FETCH_LIMIT_S`), which its bounded retries never reach: a slow store is
    no hanging decoder.

    Args:
        entries: rows of `schema.MANIFEST`.
        spec: the model's input.
        settings: limits and modalities.
        access: how buckets are reached.
        fetched: called when a fetch has ended.

    Returns:
        The entries with `status`, seconds (of waiting for bytes, of CPU time for decoding), header fields and
        `pixels`, uint8 (S, S) in C order; or else `error_stage`, `error_code` and `error_message`.
    """
    refused = [_refusal(entry, settings) for entry in entries]
    wanted = store.fetch_ahead([e for e, error in zip(entries, refused, strict=True) if not error], access)
    return _rows(entries, (error or next(wanted) for error in refused), spec, settings, fetched)


def _rows(
    entries: Sequence[Row],
    contents: Iterator[bytes | ImageError],
    spec: InputSpec,
    settings: ReadingSettings,
    fetched: Callable[[], None],
) -> Iterator[Row]:
    try:
        for entry in entries:
            signal.setitimer(signal.ITIMER_REAL, store.FETCH_LIMIT_S)
            began_s = time.perf_counter()
            content, fetched_s, busy_s = next(contents), time.perf_counter(), time.thread_time()
            fetched()
            signal.setitimer(signal.ITIMER_REAL, settings.time_limit_s)
            row = read_image(entry, content, spec, settings)
            signal.setitimer(signal.ITIMER_REAL, 0)
            row["fetch_s"], row["decode_s"] = fetched_s - began_s, time.thread_time() - busy_s
            yield row
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def read_image(entry: Row, content: bytes | ImageError, spec: InputSpec, settings: ReadingSettings) -> Row:
    """Decode and prepare one image, or say why it could not be had; see `read_images`."""
    row: Row = {key: value for key, value in entry.items() if key != "listing_code"}
    if isinstance(content, ImageError):
        return row | failure(content.code, "list" if entry["listing_code"] else "fetch", content.message)
    try:
        row["image_sha256"] = hashlib.sha256(content).hexdigest()
        row["media_type"] = decode.sniff.media_type(content)
        failpoint("decode", entry["image_uri"])
        header = decode.read_header(content, settings)
        row |= _said(header)
        row["pixels"] = read_input(content, header, spec).tobytes()
    except ImageError as error:
        return row | _said(error.header) | failure(error.code, "decode", error.message)
    except MemoryError:
        return row | failure(Code.OUT_OF_MEMORY, "decode", "the image needs more memory than there is")
    return row | {"status": Status.READ.value}


def failure(code: Code, stage: str, message: str) -> Row:
    """The columns that say why an image was not read."""
    return {
        "status": code.status.value,
        "error_stage": stage,
        "error_code": code.value,
        "error_message": message,
        "pixels": None,
    }


def _said(header: ImageHeader | None) -> Row:
    """The columns that an image's header fills, of those that are read and of those that are not."""
    return {key: value for key, value in asdict(header).items() if value is not None} if header else {}


def _refusal(entry: Row, settings: ReadingSettings) -> ImageError | None:
    """Why an image is not even fetched."""
    if entry["listing_code"] is not None:
        code = Code(entry["listing_code"])
        return ImageError(code, store.LISTING_MESSAGES[code])
    if entry["size_bytes"] > settings.max_bytes:
        return ImageError(
            Code.TOO_LARGE, f"{entry['size_bytes']:,} bytes are more than the limit of {settings.max_bytes:,}"
        )
    return None
