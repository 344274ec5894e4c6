"""Measure any bundle on any labelled images: figures, curves, and the worst errors to look at.

The functions here compute what a bundle's engines answer; `training.reporting` uses them once a training.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from batch_fracture.bundle import DEFAULT, Bundle, open_bundle, sha256_of
from batch_fracture.cli_options import JSON
from batch_fracture.engines import OPENVINO_FP32, Engine, open_engine
from batch_fracture.errors import BatchFractureError
from batch_fracture.statistics import auroc
from training.figures import figures, in_words, scored
from training.inputs import Examples, read_examples
from training.labels import LabelledImage, LabelsError, read_labels
from training.score_table import score_table
from training.split import parts_of

_IN_WORDS = {
    "all": "all images of the table",
    "train": "training images",
    "val": "validation images",
    "calibration": "calibration part",
    "reporting": "reporting part",
}
PARTS = tuple(_IN_WORDS)
"""Of a table's rows; with splits, they are dealt as training deals them."""
_EPILOG = """\b
Example:
  python -m training.evaluate --labels runs/fracatlas.csv --images ../shared/radiographs \\
      --report /tmp/evaluation
"""

Values = npt.NDArray[np.float32]


@click.command(epilog=_EPILOG)
@click.option("--model", default=DEFAULT, show_default=True, metavar="NAME|DIR", help="The bundle.")
@click.option(
    "--labels", type=click.Path(path_type=Path), required=True, help="Table of labels, as training takes it."
)
@click.option(
    "--images", type=click.Path(path_type=Path), required=True, help="The folder that its paths start from."
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to write. It shows radiographs: keep it as you keep the images.",
)
@click.option(
    "--part",
    type=click.Choice(PARTS),
    help="Which rows.  [default: reporting where the table has splits, else all]",
)
@JSON
def main(model: str, labels: Path, images: Path, report: Path, part: str | None, *, as_json: bool) -> None:
    """Measure a bundle on labelled images.

    Writes figures.json (every figure with its 95 % interval, overall and by body region), scores.parquet,
    the ROC, precision-recall and reliability curves, and a sheet of the worst errors. The bundle is left as
    it is.
    """
    try:
        found = evaluate(open_bundle(model), labels, images, report, part=part)
    except BatchFractureError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    click.echo(json.dumps(found) if as_json else said(found, report, pictures=True))


def evaluate(
    bundle: Bundle, labels: Path, images: Path, report: Path, *, part: str | None = None
) -> dict[str, Any]:
    """Score, measure, and write the report.

    Args:
        bundle: a verified bundle.
        labels: the table.
        images: the folder that its paths start from.
        report: the folder to write.
        part: one of `PARTS`; None for the reporting part of a table with splits, and for all of one without.

    Returns:
        What figures.json holds.

    Raises:
        LabelsError: the table or an image cannot be used, or the part lacks one of the labels.
        ConfigError: the folder cannot be written.
    """
    from training.report import seen, write_report  # noqa: PLC0415 - matplotlib takes seconds to import

    rows = read_labels(labels, images)
    part = part or ("reporting" if any(row.split for row in rows) else "all")
    rows = part_of(rows, part, seed=bundle.manifest.get("training", {}).get("split", {}).get("seed", 0))
    if {row.label for row in rows} != {0, 1}:
        raise LabelsError(f"labels {labels}: part {part} needs images with label 0 and with label 1")
    examples = read_examples(labels, rows, bundle.input, allow_near_duplicates=True)
    logit_N = engine_logits(bundle, OPENVINO_FP32, examples)
    measured = scored(bundle, examples, logit_N)
    found = _described(bundle, sha256_of(labels), part) | figures(measured)
    pixels, title = seen(measured, examples), f"{bundle.name}, {_IN_WORDS[part]}"
    scores = score_table(examples, logit_N)
    write_report(report, measured, found, scores=scores, pixels=pixels, title=title)
    return found


def _described(bundle: Bundle, labels_sha256: str, part: str) -> dict[str, Any]:
    """What was measured on what."""
    return {
        "model": bundle.name,
        "model_digest": bundle.digest,
        "engine": OPENVINO_FP32,
        "labels_sha256": labels_sha256,
        "part": part,
        "caution": caution(bundle, labels_sha256, part),
        "default_operating_point": bundle.default_operating_point,
    }


def part_of(rows: Sequence[LabelledImage], part: str, *, seed: int) -> list[LabelledImage]:
    """The rows of one of `PARTS`; `seed` is that of the halving of `val`."""
    if part == "all":
        return list(rows)
    if part in ("train", "val"):
        return [row for row in rows if row.split == part]
    dealt = parts_of(rows, seed=seed)
    return dealt.calibration if part == "calibration" else dealt.reporting


def said(found: Mapping[str, Any], report: Path, *, pictures: bool) -> str:
    """What the terminal shows; `pictures` says whether the report holds the sheet of the worst errors."""
    names = {
        "auroc": "AUROC (DeLong)",
        "auroc_by_group": "AUROC (by group)",
        "average_precision": "average precision",
        "expected_calibration_error": "expected calibration error",
        "brier": "Brier score",
    }
    lines = [f"{found['images']:,} images, {found['fractured']:,} fractured, {found['groups']:,} groups"]
    lines += [f"{text}: {in_words(found[name])}" for name, text in names.items()]
    lines += [
        f"{name}: sensitivity {in_words(at['sensitivity'])}, specificity {in_words(at['specificity'])}"
        for name, at in found["operating_points"].items()
    ]
    for name, text in (("auroc_within_folds", "within folds"), ("auroc_of_logits", "of raw logits")):
        if name in found:
            lines.insert(2, f"AUROC {text} (by group): {in_words(found[name])}")
    if found.get("caution"):
        lines.append(f"caution: {found['caution']}")
    keep = "; it shows radiographs: keep it as you keep the images" if pictures else ""
    return "\n".join([*lines, f"report in {report}{keep}"])


def engine_logits(
    bundle: Bundle, engine: str, examples: Examples, *, num_threads: int | None = None
) -> Values:
    """Raw logits, float32 (N,), from one engine; without `num_threads` it takes every CPU."""
    opened = open_engine(engine, bundle, num_threads=num_threads or os.cpu_count() or 1)
    return logits_of(opened, examples.pixels_NSS)


def logits_of(engine: Engine, pixels_NSS: npt.NDArray[np.uint8]) -> Values:
    """Raw logits, float32 (N,), of inputs, uint8 (N, S, S), by an open engine, as runs feed it."""
    count = engine.batch_size
    starts = range(0, len(pixels_NSS), count)
    return np.concatenate([engine(pixels_NSS[start : start + count]) for start in starts])


def compare_engines(bundle: Bundle, label_N: Values, logits: Mapping[str, Values]) -> dict[str, Any]:
    """How far the other engines stray from the reference graph on the same images.

    Args:
        bundle: whose calibration and default operating point count.
        label_N: float32 (N,), 0 or 1.
        logits: by engine, float32 (N,) each.

    Returns:
        The reference's name, the number of images, and for each other engine the mean and the largest
        difference of calibrated probability, the number of images whose label changes at the default
        operating point, and the change of AUROC.
    """
    reference_logit_N = logits[OPENVINO_FP32]
    probability = {name: bundle.calibration.probability(logit_N) for name, logit_N in logits.items()}
    reference_N = probability.pop(OPENVINO_FP32)
    threshold = bundle.operating_point(None).threshold
    return {
        "reference": OPENVINO_FP32,
        "images": len(reference_N),
        "others": {
            name: {
                "mean_probability_difference": float(np.abs(other_N - reference_N).mean()),
                "max_probability_difference": float(np.abs(other_N - reference_N).max()),
                "labels_changed": int(np.sum((other_N >= threshold) != (reference_N >= threshold))),
                "auroc_change": auroc(label_N, logits[name]).value - auroc(label_N, reference_logit_N).value,
            }
            for name, other_N in probability.items()
        },
    }


def caution(bundle: Bundle, labels_sha256: str, part: str) -> str | None:
    """Why the figures are too good, where they must be; None where nothing is known against them.

    Args:
        bundle: what was measured.
        labels_sha256: of the table.
        part: one of `PARTS`.
    """
    if labels_sha256 != bundle.manifest.get("training", {}).get("labels_sha256") or part == "reporting":
        return None
    seen = "calibrated" if part == "calibration" else "trained or calibrated"
    return f"{bundle.name} was {seen} on these images, so the figures are too good"


if __name__ == "__main__":
    main()
