"""One image: from its manifest entry to a decoded row. Bad input ends here, as a row with a code."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

from batch_fracture import decode, store
from batch_fracture.codes import Code, Status
from batch_fracture.errors import ImageError
from batch_fracture.failpoints import failpoint
from batch_fracture.preprocess import InputSpec, read_input
from batch_fracture.settings import ReadingSettings

Row = dict[str, Any]
"""A row of `schema.DECODED`; missing keys are null."""


def read_image(entry: Row, spec: InputSpec, settings: ReadingSettings) -> Row:
    """Fetch, decode and prepare one image.

    Args:
        entry: a row of `schema.MANIFEST`.
        spec: the model's input.
        settings: limits and modalities.

    Returns:
        The entry with `status`, header fields and, when read, `pixels`: uint8 (S, S) in C order. Where
        reading failed: `error_stage`, `error_code`, `error_message`.
    """
    row: Row = {key: value for key, value in entry.items() if key != "listing_code"}
    stage = "list" if entry["listing_code"] is not None else "fetch"
    try:
        content = _fetch(entry, settings)
        row["image_sha256"] = hashlib.sha256(content).hexdigest()
        row["media_type"] = decode.sniff.media_type(content)
        stage = "decode"
        failpoint("decode", entry["image_uri"])
        header = decode.read_header(content, settings)
        row |= {key: value for key, value in asdict(header).items() if value is not None}
        row["pixels"] = read_input(content, header, spec).tobytes()
    except ImageError as error:
        return row | failure(error.code, stage, error.message)
    except MemoryError:
        return row | failure(Code.OUT_OF_MEMORY, stage, "the image needs more memory than there is")
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


def _fetch(entry: Row, settings: ReadingSettings) -> bytes:
    if entry["listing_code"] is not None:
        code = Code(entry["listing_code"])
        raise ImageError(code, store.LISTING_MESSAGES[code])
    if entry["size_bytes"] > settings.max_bytes:
        raise ImageError(
            Code.TOO_LARGE, f"{entry['size_bytes']:,} bytes are more than the limit of {settings.max_bytes:,}"
        )
    return store.read_bytes(entry["image_uri"], entry["image_version"])
