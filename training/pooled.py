"""Figures over all folds of a cross-validation, each image scored by the one network that never saw it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batch_fracture import by_group
from batch_fracture.bundle import OperatingPoint, sha256_of
from batch_fracture.calibration import Calibration
from batch_fracture.cli_options import JSON
from batch_fracture.errors import BatchFractureError
from batch_fracture.statistics import Estimate, auroc
from training.calibrate import DEFAULT_OPERATING_POINT, choose_operating_points, fit_platt
from training.figures import Calls, Scored, figures
from training.score_table import ScoresError, read_scores

_EPILOG = """\b
Example:
  python -m training.pooled fold-0.parquet fold-1.parquet fold-2.parquet --report /tmp/pooled
"""

Values = npt.NDArray[np.float32]


@click.command(epilog=_EPILOG)
@click.argument("scores", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--report", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write."
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="The folder that image_uri starts from: also draw a sheet of the worst errors.",
)
@JSON
def main(scores: tuple[Path, ...], report: Path, images: Path | None, *, as_json: bool) -> None:
    """Measure the folds of a cross-validation as one.

    SCORES are Parquet or CSV files with the columns image_uri, label, group, fold, logit and, when known,
    region and part (`test` or `calibration`). Each fold is calibrated, and its operating points are chosen,
    on its own rows of part `calibration`; without any, on the tested rows of the other folds. No image has a
    say in its own probability.
    """
    from training.evaluate import said  # noqa: PLC0415 - with the engines

    try:
        found = evaluate_pooled(scores, report, images)
    except BatchFractureError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    click.echo(json.dumps(found) if as_json else said(found, report, pictures=images is not None))


def evaluate_pooled(paths: tuple[Path, ...], report: Path, images: Path | None) -> dict[str, Any]:
    """Calibrate each fold apart from what it tests, measure all, and write the report.

    Args:
        paths: score tables, `score_table.SCHEMA`.
        report: the folder to write.
        images: what image_uri starts from, to draw the worst errors.

    Returns:
        What figures.json holds.

    Raises:
        ScoresError: the tables cannot be measured.
        CalibrationError: the network of a fold learned nothing.
        ConfigError: the folder cannot be written.
    """
    from training.report import seen_again, write_report  # noqa: PLC0415 - matplotlib takes seconds to import

    table = read_scores(paths)
    measured, folds = pooled(table)
    tested = table.take(measured.row_N)
    found = {
        "scores_sha256": [sha256_of(path) for path in paths],
        "default_operating_point": DEFAULT_OPERATING_POINT,
        **figures(measured),
        "auroc_of_logits": asdict(_of_logits(tested)),
        "auroc_within_folds": asdict(_within_folds(tested)),
        "folds": folds,
    }
    names = tested["image_uri"].to_pylist()
    write_report(
        report,
        measured,
        found,
        scores=table,
        pixels=seen_again(measured, names, images) if images else None,
        title=f"{len(folds)} folds, pooled",
    )
    return found


def pooled(table: pa.Table) -> tuple[Scored, list[dict[str, Any]]]:
    """The test rows of all folds with probabilities that their labels had no part in.

    Args:
        table: `score_table.SCHEMA`, checked.

    Returns:
        The images, in the order of the table's rows, and of each fold its number, counts, AUROC and what
        calibrated it.

    Raises:
        ScoresError: a fold, or what calibrates it, lacks one of the labels.
    """
    column = {name: np.array(table[name].to_pylist()) for name in table.column_names}
    label_N, logit_N = column["label"].astype(np.float32), column["logit"].astype(np.float32)
    test_N = column["part"] == "test"
    probability_N = np.zeros(len(table), np.float32)
    called: dict[str, npt.NDArray[np.bool_]] = {}
    folds = []
    for fold in np.unique(column["fold"][test_N]).tolist():
        in_fold_N = column["fold"] == fold
        of, fit_N = in_fold_N & test_N, _calibrates(in_fold_N, test_N)
        for rows_N in (of, fit_N):
            _both_labels(label_N[rows_N], fold)
        calibration, points = _fit(label_N[fit_N], logit_N[fit_N])
        probability_N[of] = calibration.probability(logit_N[of])
        for name, at in points.items():
            called_N = called.setdefault(name, np.zeros(len(table), np.bool_))
            called_N[of] = probability_N[of] >= np.float32(at.threshold)
        thresholds = {name: at.threshold for name, at in points.items()}
        fit = {"images": int(fit_N.sum()), **asdict(calibration), "thresholds": thresholds}
        folds.append(_described(fold, label_N[of], logit_N[of], column["group"][of], fit))
    return _scored(column, test_N, probability_N, called), folds


def _calibrates(in_fold_N: npt.NDArray[np.bool_], test_N: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The rows that calibrate a fold: its own that it does not test, else what the other folds test.

    Not a part of the fold for its rest: each part's own labels would then push its probabilities the other
    way, which costs the pooled area much (Airola et al., see `_within_folds`).
    """
    own_N = in_fold_N & ~test_N
    return own_N if own_N.any() else ~in_fold_N & test_N


def _fit(label_N: Values, logit_N: Values) -> tuple[Calibration, dict[str, OperatingPoint]]:
    calibration = fit_platt(label_N, logit_N)
    return calibration, choose_operating_points(label_N, calibration.probability(logit_N))


def _both_labels(label_N: Values, fold: int) -> None:
    if set(label_N.tolist()) != {0.0, 1.0}:
        raise ScoresError(
            f"scores: fold {fold} needs images of both labels to be measured, and others to be calibrated: "
            "further folds, or rows of part `calibration`"
        )


def _described(
    fold: int, label_N: Values, logit_N: Values, group_N: npt.NDArray[np.str_], fit: dict[str, Any]
) -> dict[str, Any]:
    return {
        "fold": fold,
        "images": len(label_N),
        "fractured": int(label_N.sum()),
        "groups": len(set(group_N.tolist())),
        "auroc": asdict(auroc(label_N, logit_N)),
        "calibration": fit,
    }


def _within_folds(tested: pa.Table) -> Estimate:
    """The area over pairs of one fold's images, by its network's raw logits.

    The pooled area also compares scores of different networks, which costs it something that no single
    network would lose: A. Airola et al., Computational Statistics & Data Analysis 55 (2011) 1828-1844.
    """
    label_N, logit_N, group_N, fold_N = (
        tested[name].to_numpy() for name in ("label", "logit", "group", "fold")
    )
    return by_group.auroc(label_N, logit_N, group_N, stratum_N=fold_N)


def _of_logits(tested: pa.Table) -> Estimate:
    """The area over all images by the raw logits of the networks that never saw them.

    Networks must be on one scale by themselves for that, but it is free of what calibrating each fold by
    other folds' labels adds.
    """
    return by_group.auroc(*(tested[name].to_numpy() for name in ("label", "logit", "group")))


def _scored(
    column: dict[str, npt.NDArray[Any]],
    test_N: npt.NDArray[np.bool_],
    probability_N: Values,
    called: dict[str, npt.NDArray[np.bool_]],
) -> Scored:
    return Scored(
        row_N=np.flatnonzero(test_N),
        label_N=column["label"][test_N].astype(np.float32),
        group_N=column["group"][test_N],
        region_N=column["region"][test_N],
        probability_N=probability_N[test_N],
        calls={name: Calls(called_N=called_N[test_N]) for name, called_N in called.items()},
        default_point=DEFAULT_OPERATING_POINT,
    )


if __name__ == "__main__":
    main()
