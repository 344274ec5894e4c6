"""A sheet of the errors that a model was surest of, for a person to look at; it shows patients."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.figures import Scored

NUM_SHOWN = 12
"""Of either kind."""
_COLUMNS = 6
_TILE, _TEXT, _HEAD = 2.3, 0.45, 0.55
"""Inches: side of a picture, room for its lines, room for a heading."""
_DPI = 100
_LETTERS = 20
"""Of a region that fit over a picture."""

Indices = npt.NDArray[np.intp]


def worst_errors(of: Scored) -> tuple[Indices, Indices]:
    """The errors at the default operating point, the surest first, `NUM_SHOWN` of either kind.

    Returns:
        Missed fractures from the lowest probability on, and false calls from the highest on, as indices of
        `of`; equal probabilities in the order of rows.
    """
    called_N = of.calls[of.default_point].called_N
    missed, called = (
        np.flatnonzero((of.label_N == 1) & ~called_N),
        np.flatnonzero((of.label_N == 0) & called_N),
    )
    missed = missed[np.argsort(of.probability_N[missed], kind="stable")]
    called = called[np.argsort(-of.probability_N[called], kind="stable")]
    return missed[:NUM_SHOWN], called[:NUM_SHOWN]


def worst_errors_figure(of: Scored, pixels: Mapping[int, npt.NDArray[np.uint8]], title: str) -> Figure:
    """Draw what the network saw of each, with row, region and probability.

    Args:
        of: what was measured.
        pixels: uint8 (S, S) by index of `of`, at least of `worst_errors`.
        title: what was measured, for people.
    """
    missed, called = worst_errors(of)
    label_N, called_N = of.label_N, of.calls[of.default_point].called_N
    kinds = (
        (
            f"Missed fractures, least probable first: {len(missed)} of {np.sum(~called_N[label_N == 1])}",
            missed,
        ),
        (f"False calls, most probable first: {len(called)} of {np.sum(called_N[label_N == 0])}", called),
    )
    rows_of = [max(1, -(-len(indices) // _COLUMNS)) for _, indices in kinds]
    heights = [_HEAD + rows * (_TILE + _TEXT) for rows in rows_of]
    figure = Figure(figsize=(_COLUMNS * _TILE + 0.2, sum(heights) + _HEAD), dpi=_DPI, layout="constrained")
    figure.suptitle(f"{title}, at {of.default_point}. It shows patients: keep it as you keep the images.")
    grid = figure.add_gridspec(2, 1, height_ratios=heights)
    for number, ((heading, indices), rows) in enumerate(zip(kinds, rows_of, strict=True)):
        part = figure.add_subfigure(grid[number])
        part.suptitle(heading, x=0.01, ha="left", fontweight="bold")
        tiles = part.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for place, axes in enumerate(tiles):
            axes.set_axis_off()
            if place < len(indices):
                _tile(axes, of, int(indices[place]), pixels)
    return figure


def _tile(axes: Axes, of: Scored, index: int, pixels: Mapping[int, npt.NDArray[np.uint8]]) -> None:
    axes.imshow(pixels[index], cmap="gray", vmin=0, vmax=255)
    region = str(of.region_N[index])
    region = region if len(region) <= _LETTERS else f"{region[: _LETTERS - 3]}..."
    text = f"row {of.row_N[index]}  {region}\nprobability {of.probability_N[index]:.3f}"
    axes.set_title(text, fontsize=9, parse_math=False)
