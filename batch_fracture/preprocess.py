"""The one function that turns a decoded radiograph into the model's input, in training and runs alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from batch_fracture import decode
from batch_fracture.decode import ImageHeader

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a model was trained on; part of its bundle. Normalisation lives in the model graph."""

    size: int
    """Side S of the square input, pixels."""
    layout: str = "letterbox"
    """The longer side is scaled to S, the rest is filled: every image is treated alike, none is distorted."""
    interpolation: str = "bilinear"
    """Antialiased, after a box reduction (`reducing_gap` 2) of larger images."""
    fill: int = 0
    """Grey value beside the image."""

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 2048:
            raise ValueError(f"input size {self.size} is not within 32 to 2048")
        if (self.layout, self.interpolation) != ("letterbox", "bilinear"):
            raise ValueError(f"unknown preprocessing {self.layout!r}, {self.interpolation!r}")

    @property
    def min_long_side(self) -> int:
        """Pixels of the longer side that the decoder must keep, so that the resize still averages."""
        return 2 * self.size


def read_input(content: bytes, header: ImageHeader, spec: InputSpec) -> Pixels:
    """Decode an image and prepare it.

    Args:
        content: the whole file.
        header: what `decode.read_header` gave for it.
        spec: the model's input.

    Returns:
        uint8 (S, S).

    Raises:
        ImageError: the pixels cannot be decoded.
    """
    return letterbox(decode.read_grey(content, header, min_long_side=spec.min_long_side), spec)


def letterbox(grey_HW: Pixels, spec: InputSpec) -> Pixels:
    """Scale the longer side to S, keep the aspect ratio, centre on a field of `spec.fill`.

    Args:
        grey_HW: uint8 (rows, columns).
        spec: the model's input.

    Returns:
        uint8 (S, S), C order.
    """
    from PIL import Image  # noqa: PLC0415 - Pillow stays out of the driver

    top, left, height, width = _placed(grey_HW.shape, spec)
    resized = Image.fromarray(grey_HW).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    field_SS = np.full((spec.size, spec.size), spec.fill, np.uint8)
    field_SS[top : top + height, left : left + width] = np.asarray(resized)
    return field_SS


def letterbox_boxes(
    boxes_K4: npt.NDArray[np.float32], shape: tuple[int, int], spec: InputSpec
) -> npt.NDArray[np.float32]:
    """Where boxes of an image lie in its input.

    Args:
        boxes_K4: x_centre, y_centre, width and height, as fractions of the image.
        shape: rows and columns of the image that `letterbox` was given.
        spec: the model's input.

    Returns:
        float32 (K, 4): left, top, right and bottom as fractions of the input's side, none beyond the image.
    """
    top, left, height, width = _placed(shape, spec)
    centre_K2, half_K2 = boxes_K4[:, :2], boxes_K4[:, 2:] / 2
    corners_K4 = np.concatenate([centre_K2 - half_K2, centre_K2 + half_K2], axis=1).clip(0.0, 1.0)
    corners_K4 = corners_K4 * np.array([width, height, width, height]) + np.array([left, top, left, top])
    return np.asarray(corners_K4 / spec.size, np.float32)


def _placed(shape: tuple[int, ...], spec: InputSpec) -> tuple[int, int, int, int]:
    """Top, left, height and width of an image in its input, pixels."""
    rows, columns = shape
    scale = spec.size / max(rows, columns)
    height, width = (max(1, round(side * scale)) for side in (rows, columns))
    return (spec.size - height) // 2, (spec.size - width) // 2, height, width
