"""Read labelled images once, by the very path that serves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from batch_fracture import decode
from batch_fracture.preprocess import InputSpec, letterbox, letterbox_boxes
from training.contents import Look, alike, content_problems, each, look_at, read_image
from training.labels import LabelledImage
from training.problems import Problem, refuse

Inputs = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float32]
"""float32 (K, 4): left, top, right and bottom as fractions of the input's side."""
NO_BOXES: Boxes = np.zeros((0, 4), np.float32)
_REMEDY = (
    "python -m training.labels leaves such rows out (--skip-bad) or deals splits that keep look-alikes "
    "together (--split); --allow-near-duplicates lets look-alikes pass"
)


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Labelled images, ready for the model, in the order of `rows`."""

    rows: tuple[LabelledImage, ...]
    """Where each came from."""
    pixels_NSS: Inputs  # noqa: N815 - a shape suffix
    """uint8."""
    boxes: tuple[Boxes, ...] = ()
    """Of the fractures in each input; empty where no image has any."""

    @property
    def label_N(self) -> npt.NDArray[np.float32]:  # noqa: N802 - a shape suffix
        """float32 (N,), 0 or 1."""
        return np.array([row.label for row in self.rows], np.float32)

    @property
    def num_fractured(self) -> int:
        """Images with label 1."""
        return sum(row.label for row in self.rows)

    @property
    def num_groups(self) -> int:
        """Distinct groups."""
        return len({row.group for row in self.rows})

    @property
    def all_boxes(self) -> tuple[Boxes, ...]:
        """Boxes for each row, also where no image has any."""
        return self.boxes or (NO_BOXES,) * len(self.rows)

    def also(self, other: Examples) -> Examples:
        """These, then those."""
        pixels_NSS = np.concatenate([self.pixels_NSS, other.pixels_NSS])
        return Examples(
            rows=self.rows + other.rows, pixels_NSS=pixels_NSS, boxes=self.all_boxes + other.all_boxes
        )

    def only(self, rows: Iterable[LabelledImage]) -> Examples:
        """The examples of these rows, in their order."""
        kept = tuple(rows)
        index_of = {row.row: index for index, row in enumerate(self.rows)}
        chosen, boxes = [index_of[row.row] for row in kept], self.all_boxes
        return Examples(
            rows=kept, pixels_NSS=self.pixels_NSS[chosen], boxes=tuple(boxes[index] for index in chosen)
        )


def read_examples(
    table: Path, rows: Sequence[LabelledImage], spec: InputSpec, *, allow_near_duplicates: bool = False
) -> Examples:
    """Decode and prepare each row's image.

    Args:
        table: the file of labels, named in messages.
        rows: what to read.
        spec: the model's input.
        allow_near_duplicates: let pictures that look the same contradict each other; the same file may not.

    Raises:
        LabelsError: images cannot be read, or one picture stands in rows that contradict each other.
    """
    decoded = decode_images(table, rows, spec)
    return to_examples(table, rows, decoded, spec, allow_near_duplicates=allow_near_duplicates)


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Images as the network sees them, and what else is known of each file."""

    pixels_NSS: Inputs  # noqa: N815 - a shape suffix
    shapes: list[tuple[int, int]]
    """Rows and columns before the letterbox."""
    looks: list[Look]
    """At each picture."""


def decode_images(table: Path, rows: Sequence[LabelledImage], spec: InputSpec) -> Decoded:
    """Decode and letterbox each row's image.

    Raises:
        LabelsError: images cannot be read.
    """
    decoded = Decoded(pixels_NSS=np.empty((len(rows), spec.size, spec.size), np.uint8), shapes=[], looks=[])
    problems: list[Problem] = []
    for index, found in enumerate(each(rows, lambda row: _read(row, spec))):
        if isinstance(found, Problem):
            problems.append(found)
            continue
        decoded.pixels_NSS[index], shape, look = found
        decoded.shapes.append(shape)
        decoded.looks.append(look)
    refuse(table, problems, _REMEDY)
    return decoded


def to_examples(
    table: Path,
    rows: Sequence[LabelledImage],
    decoded: Decoded,
    spec: InputSpec,
    *,
    allow_near_duplicates: bool = False,
) -> Examples:
    """Put rows, pixels and boxes together.

    Raises:
        LabelsError: one picture stands in rows that contradict each other.
    """
    pairs = alike(decoded.looks, near_duplicates=not allow_near_duplicates)
    refuse(table, content_problems(rows, pairs), _REMEDY)
    boxes = tuple(_in_input(row, shape, spec) for row, shape in zip(rows, decoded.shapes, strict=True))
    return Examples(rows=tuple(rows), pixels_NSS=decoded.pixels_NSS, boxes=boxes)


def _read(row: LabelledImage, spec: InputSpec) -> tuple[Inputs, tuple[int, int], Look]:
    """The steps of `preprocess.read_input`, with a look at the picture between them."""
    content, header = read_image(row)
    grey_HW = decode.read_grey(content, header, min_long_side=spec.min_long_side)
    rows, columns = grey_HW.shape
    return letterbox(grey_HW, spec), (rows, columns), look_at(content, grey_HW)


def _in_input(row: LabelledImage, shape: tuple[int, int], spec: InputSpec) -> Boxes:
    return letterbox_boxes(np.array(row.boxes, np.float32), shape, spec) if row.boxes else NO_BOXES
