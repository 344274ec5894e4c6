"""What the images of a table hold: whether they can be read, and one picture in contradicting rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from batch_fracture import decode, store
from batch_fracture.codes import Code
from batch_fracture.errors import ImageError
from batch_fracture.settings import ReadingSettings
from batch_fracture.store.bucket import FROM_ENVIRONMENT, is_bucket
from batch_fracture.store.lookup import complete
from training.labels import LabelledImage
from training.look_alikes import NUM_BITS, hash_of, near_pairs
from training.problems import Problem

T = TypeVar("T")

LOOK_SIDE = 256
"""Pixels of the longer side that are decoded for a look at a picture; much less would change its hash."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What tells one picture from another."""

    sha256: str
    """Of the file, hex."""
    hash_W: npt.NDArray[np.uint64]  # noqa: N815 - a shape suffix
    """Of what it shows, uint64 (4,)."""


@dataclass(frozen=True, kw_only=True)
class Alike:
    """Two rows with one picture."""

    one: int
    other: int
    """Indices of the rows, `one` before `other`."""
    distance: int
    """Bits in which the perceptual hashes differ."""
    is_same_file: bool


def read_image(row: LabelledImage) -> tuple[bytes, decode.ImageHeader]:
    """The file of a row, on disk or in a bucket, and its header.

    Raises:
        ImageError: it is not there, or no image that can be read.
        SourceError: the bucket does not answer.
    """
    if is_bucket(row.name):
        found = complete([row.name], None, None, None, None, FROM_ENVIRONMENT).to_pylist()[0]
        if found["listing_code"]:
            raise ImageError(Code(found["listing_code"]), "the store does not give it")
        content = store.read_bytes(row.name, found["image_version"], found["size_bytes"])
    else:
        try:
            content = row.path.read_bytes()
        except OSError as error:
            raise ImageError(Code.GONE, error.strerror or "no such file") from error
    return content, decode.read_header(content, ReadingSettings())


def look_at(content: bytes, grey_HW: npt.NDArray[np.uint8]) -> Look:
    """A file's content and its decoded picture, uint8 (rows, columns), as a `Look`."""
    return Look(sha256=hashlib.sha256(content).hexdigest(), hash_W=hash_of(grey_HW))


def look(row: LabelledImage) -> Look:
    """Read a row's image for its look alone.

    Raises:
        ImageError: as `read_image`, or the pixels cannot be decoded.
    """
    content, header = read_image(row)
    return look_at(content, decode.read_grey(content, header, min_long_side=LOOK_SIDE))


def each(rows: Sequence[LabelledImage], read: Callable[[LabelledImage], T]) -> Iterator[T | Problem]:
    """What `read` gives for each row, in order, read on several threads; a `Problem` where it cannot be."""

    def read_one(row: LabelledImage) -> T | Problem:
        try:
            return read(row)
        except ImageError as error:
            text = f"row {row.row}: {row.name} cannot be read ({error.code}: {error.message})"
            return Problem(text=text, leave_out=(row.row,))

    with ThreadPoolExecutor() as pool:  # the decoders release the interpreter lock
        yield from pool.map(read_one, rows)


def alike(looks: Sequence[Look], *, near_duplicates: bool = True) -> list[Alike]:
    """Every two pictures that count as one; of equal files each stands beside the first of them only.

    Args:
        looks: at each row's image.
        near_duplicates: whether look-alikes (`look_alikes.MAX_DISTANCE`) count too, or equal files alone.
    """
    first: dict[str, int] = {}
    pairs = [
        Alike(one=one, other=index, distance=0, is_same_file=True)
        for index, look in enumerate(looks)
        if (one := first.setdefault(look.sha256, index)) != index
    ]
    kept = np.array(sorted(first.values()), np.intp)
    if near_duplicates and kept.size:
        for one, other, distance in near_pairs(np.stack([looks[index].hash_W for index in kept])).tolist():
            pairs.append(
                Alike(one=int(kept[one]), other=int(kept[other]), distance=distance, is_same_file=False)
            )
    return sorted(pairs, key=lambda pair: (pair.other, pair.one))


def content_problems(rows: Sequence[LabelledImage], pairs: Sequence[Alike]) -> list[Problem]:
    """One picture under two labels, or in two splits, whatever its file names.

    Args:
        rows: the table's rows.
        pairs: what `alike` found among them.
    """
    problems = []
    for pair in pairs:
        row, other = rows[pair.other], rows[pair.one]
        verdict = f"is the same image as row {other.row}"
        if not pair.is_same_file:
            verdict = f"looks the same as row {other.row} ({pair.distance} of {NUM_BITS} bits differ)"
        problems += [
            Problem(
                text=f"row {row.row}: {row.name} {verdict}, with another {field}",
                leave_out=_to_leave_out(row, other, field),
            )
            for field in ("label", "split")
            if getattr(row, field) != getattr(other, field)
        ]
    return problems


def joined(rows: Sequence[LabelledImage], pairs: Sequence[Alike]) -> list[LabelledImage]:
    """The rows, with one group for those groups that share a picture: the first of their names.

    Groups of different splits stay apart: their pictures are problems.
    """
    leader = {row.group: row.group for row in rows}

    def found(group: str) -> str:
        while leader[group] != group:
            leader[group] = leader[leader[group]]
            group = leader[group]
        return group

    for pair in pairs:
        if rows[pair.one].split == rows[pair.other].split:
            one, other = sorted((found(rows[pair.one].group), found(rows[pair.other].group)))
            leader[other] = one
    return [replace(row, group=found(row.group)) for row in rows]


def _to_leave_out(row: LabelledImage, other: LabelledImage, field: str) -> tuple[int, ...]:
    """Both, when nobody knows which label is right; else the one that costs least: of train before val."""
    if field == "label":
        return (other.row, row.row)
    return (min((row, other), key=lambda one: ("train", "val", "test").index(one.split)).row,)
