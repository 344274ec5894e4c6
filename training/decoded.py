"""Decoded inputs on disk, so that a second training of the same images starts in seconds.

Each pair of files is named after what decides it: the images (path, size, time), the preprocessing, the
code that decodes. The folder may be removed at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

import batch_fracture
from batch_fracture.preprocess import InputSpec
from training import look_alikes
from training.contents import Look
from training.inputs import Decoded, Examples, decode_images, to_examples
from training.labels import LabelledImage
from training.provenance import sources_sha256

KEPT = 3
"""Pairs that stay; the ones that were not used for longest go."""


def read_cached(
    table: Path,
    rows: Sequence[LabelledImage],
    spec: InputSpec,
    folder: Path,
    *,
    allow_near_duplicates: bool = False,
) -> Examples:
    """What `inputs.read_examples` gives, from `folder` when the same was decoded before.

    Args:
        table: the file of labels, named in messages.
        rows: what to read.
        spec: the model's input.
        folder: of the cache. Where it takes nothing, that is said, and training goes on; images in buckets
            are decoded anew.
        allow_near_duplicates: as in `inputs.read_examples`.

    Raises:
        LabelsError: images cannot be read, or one picture stands in rows that contradict each other.
    """
    key = _key(rows, spec)
    stem = folder / f"inputs-{key}"
    decoded = _load(stem) if key else None
    if decoded is None:
        decoded = decode_images(table, rows, spec)
        try:
            if key:
                _save(stem, decoded)
        except OSError as error:
            print(f"decoded images are not kept: {folder}: {error.strerror or error}")
    return to_examples(table, rows, decoded, spec, allow_near_duplicates=allow_near_duplicates)


def _key(rows: Sequence[LabelledImage], spec: InputSpec) -> str | None:
    """sha256 (hex, shortened) of all that decides the pixels; None where that is not a file on disk."""
    digest = hashlib.sha256(json.dumps([asdict(spec), _code_sha256()], sort_keys=True).encode())
    for row in rows:
        try:
            status = row.path.stat()
        except OSError:  # in a bucket; or it is not there, which decoding says by row
            return None
        digest.update(
            f"{row.path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(
                "utf-8", "surrogateescape"
            )
        )
    return digest.hexdigest()[:24]


def _code_sha256() -> str:
    package = Path(batch_fracture.__file__).parent
    looks = Path(look_alikes.__file__)
    return sources_sha256([*(package / "decode").glob("*.py"), package / "preprocess.py", looks])


def _load(stem: Path) -> Decoded | None:
    """The pair of files, memory-mapped; None where they are absent or not whole."""
    pixels, facts = stem.with_suffix(".npy"), stem.with_suffix(".json")
    try:
        said = json.loads(facts.read_text(encoding="utf-8"))
        pixels_NSS = np.load(pixels, mmap_mode="r")
    except (OSError, ValueError):
        return None
    os.utime(facts)
    shapes = [(int(rows), int(columns)) for rows, columns in said["shapes"]]
    looks = [Look(sha256=sha256, hash_W=np.array(words, np.uint64)) for sha256, words in said["looks"]]
    return Decoded(pixels_NSS=pixels_NSS, shapes=shapes, looks=looks)


def _save(stem: Path, decoded: Decoded) -> None:
    """Write the pair, facts last: they say that the pixels are whole; then let the oldest pairs go."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    draft = stem.with_suffix(f".draft-{os.getpid()}")
    try:
        with draft.open("wb") as file:
            np.save(file, decoded.pixels_NSS)
        draft.rename(stem.with_suffix(".npy"))
    finally:
        draft.unlink(missing_ok=True)
    looks = [(look.sha256, look.hash_W.tolist()) for look in decoded.looks]
    facts = {"shapes": decoded.shapes, "looks": looks}
    stem.with_suffix(".json").write_text(json.dumps(facts), encoding="utf-8")
    pairs = sorted(stem.parent.glob("inputs-*.json"), key=lambda file: file.stat().st_mtime_ns)
    for old in pairs[:-KEPT]:
        old.unlink()
        old.with_suffix(".npy").unlink(missing_ok=True)
