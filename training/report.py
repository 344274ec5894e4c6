"""The folder of a measurement: figures.json, scores.parquet, curves, and the worst errors to look at.

It is no part of a bundle, since the sheet shows radiographs and the scores name them: `OUT.evaluation` beside
the bundle `OUT`, which git ignores.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from batch_fracture.errors import ConfigError
from batch_fracture.preprocess import InputSpec
from training.figures import Scored
from training.inputs import Examples, read_examples
from training.labels import LabelledImage
from training.plots import precision_recall_figure, reliability_figure, roc_figure
from training.worst_errors import worst_errors, worst_errors_figure

_SHEET = "worst_errors.png"
_SHEET_SIDE = 256
"""Pixels of a picture that is read for the sheet alone."""

Pixels = Mapping[int, npt.NDArray[np.uint8]]


def folder_beside(bundle: Path) -> Path:
    """Where the report on the bundle at `bundle` goes."""
    return bundle.with_name(f"{bundle.name}.evaluation")


def write_report(
    folder: Path, of: Scored, found: Mapping[str, Any], *, scores: pa.Table, pixels: Pixels | None, title: str
) -> None:
    """Write all files, over those of an earlier report; `figures.json` comes last.

    Args:
        folder: made if it is not there.
        of: what was measured.
        found: its figures, with whatever else figures.json is to say.
        scores: `score_table.SCHEMA`.
        pixels: uint8 (S, S) by index of `of`, at least of the worst errors; None draws no sheet.
        title: what was measured, for people.

    Raises:
        ConfigError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _SHEET).unlink(missing_ok=True)  # an earlier one would show other errors
        roc_figure(of, found, title).savefig(folder / "roc.png")
        precision_recall_figure(of, found, title).savefig(folder / "precision_recall.png")
        reliability_figure(of, found, title).savefig(folder / "reliability.png")
        if pixels is not None:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Glyph")  # a region in letters that the font lacks
                worst_errors_figure(of, pixels, title).savefig(folder / _SHEET)
        pyarrow.parquet.write_table(scores, folder / "scores.parquet")
        (folder / "figures.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--report {folder}: cannot be written ({error.strerror or error})") from error


def seen(of: Scored, examples: Examples) -> Pixels:
    """What the network saw of the worst errors; `examples` in the order of `of`."""
    return {int(index): examples.pixels_NSS[index] for index in np.concatenate(worst_errors(of))}


def seen_again(of: Scored, names: list[str], images: Path) -> Pixels:
    """The same, read from files.

    Args:
        of: what was measured.
        names: of the images, in its order.
        images: the folder that they start from.

    Raises:
        LabelsError: an image cannot be read.
    """
    indices = np.concatenate(worst_errors(of)).tolist()
    rows = [
        LabelledImage(
            row=int(of.row_N[index]),
            name=names[index],
            path=images / names[index],
            label=int(of.label_N[index]),
            group=str(of.group_N[index]),
            split="val",
            region=str(of.region_N[index]),
        )
        for index in indices
    ]
    examples = read_examples(images, rows, InputSpec(size=_SHEET_SIDE), allow_near_duplicates=True)
    return dict(zip(indices, examples.pixels_NSS, strict=True))
