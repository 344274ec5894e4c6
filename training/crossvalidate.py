"""Cross-validate a recipe: a training for each fold, each image scored by one that never saw it."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batch_fracture.cli_options import JSON
from batch_fracture.durable import put
from batch_fracture.errors import BatchFractureError, ConfigError
from training.config import TrainingConfig, read_config
from training.labels import LabelledImage, read_labels
from training.split import Parts, folds, parts_of
from training.train import STORAGE, check_out

if TYPE_CHECKING:
    from training.inputs import Examples

_EPILOG = """\b
Example:
  python -m training.crossvalidate --config training/configs/fracatlas-evidence.toml --report /tmp/folds
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), required=True, help="The recipe, TOML."
)
@click.option(
    "--report", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write."
)
@click.option("--folds", "num_folds", type=click.IntRange(min=3), default=5, show_default=True)
@click.option(
    "--only",
    type=click.IntRange(min=1),
    multiple=True,
    help="Train only this fold, and pool none; may be repeated. For folds on several machines or cores.",
)
@click.option(
    "--bundle",
    type=click.IntRange(min=1),
    help="Also write the bundle of this fold's network; of the tested fold, half calibrates, half reports.",
)
@click.option("--labels", type=click.Path(path_type=Path), help="Table, CSV or Parquet.")
@click.option("--images", type=click.Path(path_type=Path), help="The folder that its image_uris start from.")
@click.option("--workers", type=int, help="Ray Train workers.")
@click.option("--epochs", type=int, help="Passes over the training images of each fold.")
@click.option(
    "--storage", default=STORAGE, show_default=True, help="Checkpoints: a folder, or s3://bucket/prefix."
)
@JSON
def main(
    config_path: Path,
    report: Path,
    num_folds: int,
    only: tuple[int, ...],
    bundle: int | None,
    storage: str,
    *,
    as_json: bool,
    **overrides: Any,
) -> None:
    """Train a recipe once for each fold, and measure all folds as one.

    Folds are dealt by group, stratified by label and region; the table's own splits do not count. Each fold
    is tested once. With choose_epoch = "best", the fold after it calibrates and chooses the epoch, and all
    others are learned from; with "last", all others are learned from, and calibration is fitted on one
    half of the tested groups for the other half. The same command goes on where it was interrupted.
    """
    from training.evaluate import said  # noqa: PLC0415 - with the engines

    try:
        config = read_config(config_path, **overrides)
        for flag, numbers in (("--only", only), ("--bundle", (bundle,) if bundle else ())):
            if numbers and max(numbers) > num_folds:
                raise ConfigError(f"{flag} {max(numbers)}: there are only {num_folds} folds")
        if bundle:
            check_out(config.out)
        found = cross_validate(config, storage, report, num_folds=num_folds, only=only)
        command = (
            f"python -m training.crossvalidate --config {config_path} --folds {num_folds} --bundle {bundle}"
        )
        if bundle:
            write_fold(config, storage, fold=bundle - 1, num_folds=num_folds, command=command)
    except BatchFractureError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    if found is not None:
        click.echo(json.dumps(found) if as_json else said(found, report, pictures=True))


def cross_validate(
    config: TrainingConfig, storage: str, report: Path, *, num_folds: int, only: Sequence[int] = ()
) -> dict[str, Any] | None:
    """Train and score every fold, then measure them together.

    Args:
        config: the recipe; `split_seed` deals the folds.
        storage: where checkpoints are kept, one folder for each fold.
        report: takes `fold-1.parquet` and so on, and what `pooled.evaluate_pooled` writes.
        num_folds: 3 or more.
        only: folds to train, counted from 1, without measuring; none means all.

    Returns:
        What figures.json holds; None with `only`.

    Raises:
        LabelsError: the table or an image cannot be used, or look-alikes stand in different folds.
        BatchFractureError: a training failed; the others stay, and the same call goes on.
    """
    dealt = deal(read_labels(config.labels, config.images), num_folds=num_folds, seed=config.split_seed)
    from training.pooled import evaluate_pooled  # noqa: PLC0415 - torch and ray take seconds to import

    _make(report)
    parts = _read(config, dealt, storage)
    wanted = [number - 1 for number in only] or range(num_folds)
    paths = tuple(_score_fold(config, parts, fold, storage, report) for fold in wanted)
    return None if only else evaluate_pooled(paths, report, config.images)


def deal(rows: Sequence[LabelledImage], *, num_folds: int, seed: int) -> list[list[LabelledImage]]:
    """The folds, each row's split named after its fold, so that look-alikes in two folds are refused."""
    return [
        [replace(row, split=f"fold {number}") for row in fold]
        for number, fold in enumerate(folds(rows, num_folds=num_folds, seed=seed), start=1)
    ]


def write_fold(config: TrainingConfig, storage: str, *, fold: int, num_folds: int, command: str) -> None:
    """Write the bundle of a fold's network at `config.out`; it is trained unless its checkpoints say so.

    Of the tested fold, one half of the groups calibrates and the other one reports, as `val` is halved.

    Args:
        config: the recipe, with `choose_epoch = "last"`.
        storage: where the fold's checkpoints are.
        fold: counted from 0.
        num_folds: as it was dealt.
        command: how to do it again.

    Raises:
        ConfigError: the tested fold chose the epoch, or some of it was learned from.
    """
    if config.choose_epoch != "last":
        raise ConfigError('--bundle: choose_epoch = "best" calibrates on another fold; set it to "last"')
    dealt = deal(read_labels(config.labels, config.images), num_folds=num_folds, seed=config.split_seed)
    parts = parts_with_fold(dealt, fold, seed=config.split_seed)
    from training.fit import fit  # noqa: PLC0415 - as above
    from training.train import write_out  # noqa: PLC0415 - as above

    folds_read = _read(config, dealt, storage)
    whole = functools.reduce(lambda some, more: some.also(more), folds_read)
    examples = {name: whole.only(rows) for name, rows in parts.by_name.items()}
    named = _named(config, fold, num_folds)
    served, metrics = fit(named, examples["train"], folds_read[fold], storage=storage)
    record = {**parts.record, "fold": f"{fold + 1} of {num_folds}"}
    write_out(served, config, examples, split=record, metrics=metrics, command=command)


def parts_with_fold(dealt: Sequence[Sequence[LabelledImage]], fold: int, *, seed: int) -> Parts:
    """One fold as `val`, halved, and all others as `train`.

    Args:
        dealt: of `deal`.
        fold: counted from 0.
        seed: of the halving.
    """
    rows = [
        replace(row, split="val" if number == fold else "train")
        for number, of_fold in enumerate(dealt)
        for row in of_fold
    ]
    return parts_of(rows, seed=seed)


def _read(config: TrainingConfig, dealt: Sequence[Sequence[LabelledImage]], storage: str) -> list[Examples]:
    """The images of each fold."""
    from training.decoded import read_cached  # noqa: PLC0415 - as above

    examples = read_cached(
        config.labels,
        [row for fold in dealt for row in fold],
        config.input,
        Path(STORAGE if "://" in storage else storage) / "decoded",
        allow_near_duplicates=config.allow_near_duplicates,
    )
    return [examples.only(fold) for fold in dealt]


def _named(config: TrainingConfig, fold: int, num_folds: int) -> TrainingConfig:
    return replace(config, name=f"{config.name}-fold-{fold + 1}-of-{num_folds}")


def _score_fold(
    config: TrainingConfig, parts: Sequence[Examples], fold: int, storage: str, report: Path
) -> Path:
    """Train one fold, unless its checkpoints say that it is done, and write its scores."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    from batch_fracture.results import parquet  # noqa: PLC0415 - as above
    from training.fit import fit  # noqa: PLC0415 - as above
    from training.score_table import score_table  # noqa: PLC0415 - as above
    from training.state import served_logits  # noqa: PLC0415 - as above

    test = parts[fold]
    others = [parts[(fold + further) % len(parts)] for further in range(1, len(parts))]
    calibration = others.pop(0) if config.choose_epoch == "best" else None
    train = functools.reduce(lambda some, more: some.also(more), others)
    print(f"fold {fold + 1} of {len(parts)}: {len(train.rows):,} images, {train.num_fractured:,} fractured")
    named = _named(config, fold, len(parts))
    served, _ = fit(named, train, calibration or test, storage=storage)  # with "last", no epoch is chosen
    scores = [
        score_table(of, served_logits(served, of.pixels_NSS), fold=fold + 1, part=part)
        for of, part in ((test, "test"), (calibration, "calibration"))
        if of is not None
    ]
    path = report / f"fold-{fold + 1}.parquet"
    put(path, parquet.encode(pa.concat_tables(scores)))
    return path


def _make(report: Path) -> None:
    try:
        report.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--report {report}: cannot be written ({error.strerror or error})") from error


if __name__ == "__main__":
    main()
