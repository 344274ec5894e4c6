"""Cross-validate a recipe: a training for each fold, each image scored by one that never saw it."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batch_fracture.cli_options import JSON
from batch_fracture.durable import put
from batch_fracture.errors import BatchFractureError, ConfigError
from training.config import TrainingConfig, read_config
from training.dealt import Folds, parts_with_fold, read_folds
from training.ensemble import fit_networks, trainings
from training.train import STORAGE, check_out

if TYPE_CHECKING:
    from batch_fracture.engines.network import ServedNetwork
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
    others are learned from; with "last", all others are learned from, and calibration is fitted on what
    the other folds test. The same command goes on where it was interrupted.
    """
    from training.evaluate import said  # noqa: PLC0415 - with the engines

    try:
        config = read_config(config_path, **overrides)
        for flag, numbers in (("--only", only), ("--bundle", (bundle,) if bundle else ())):
            if numbers and max(numbers) > num_folds:
                raise ConfigError(f"{flag} {max(numbers)}: there are only {num_folds} folds")
        if bundle:
            check_bundle(config)
        trainings(config)  # refuses before hours of work
        folds_read = read_folds(config, storage, num_folds=num_folds)
        found = cross_validate(folds_read, report, only=only)
        if bundle:
            command = f"python -m training.crossvalidate --config {config_path} --folds {num_folds}"
            write_fold(folds_read, bundle - 1, command=f"{command} --bundle {bundle}")
    except BatchFractureError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    if found is not None:
        click.echo(json.dumps(found) if as_json else said(found, report, pictures=True))


def cross_validate(folds_read: Folds, report: Path, *, only: Sequence[int] = ()) -> dict[str, Any] | None:
    """Train and score every fold, then measure them together.

    Args:
        folds_read: of `read_folds`.
        report: takes `fold-1.parquet` and so on, and what `pooled.evaluate_pooled` writes.
        only: folds to train, counted from 1, without measuring; none means all.

    Returns:
        What figures.json holds; None with `only`.

    Raises:
        BatchFractureError: a training failed; the others stay, and the same call goes on.
    """
    from training.pooled import evaluate_pooled  # noqa: PLC0415 - torch and ray take seconds to import

    _make(report)
    wanted = [number - 1 for number in only] or range(len(folds_read.parts))
    paths = tuple(_score_fold(folds_read, fold, report) for fold in wanted)
    return None if only else evaluate_pooled(paths, report, folds_read.config.images)


def check_bundle(config: TrainingConfig) -> None:
    """Refuse what no bundle of a fold could be written from, before hours are spent.

    Raises:
        ConfigError: the tested fold would choose the epoch, or `out` is taken.
    """
    if config.choose_epoch != "last":
        raise ConfigError('--bundle: choose_epoch = "best" calibrates on another fold; set it to "last"')
    check_out(config.out)


def write_fold(folds_read: Folds, fold: int, *, command: str) -> None:
    """Write the bundle of a fold's network at `config.out`; it is trained unless its checkpoints say so.

    Of the tested fold, one half of the groups calibrates and the other one reports, as `val` is halved.

    Args:
        folds_read: of a recipe with `choose_epoch = "last"`.
        fold: counted from 0.
        command: how to do it again.
    """
    from training.train import write_out  # noqa: PLC0415 - as above

    config, folds_of = folds_read.config, folds_read.parts
    split = parts_with_fold(folds_read.dealt, fold, seed=config.split_seed)
    whole = functools.reduce(lambda some, more: some.also(more), folds_of)
    examples = {name: whole.only(rows) for name, rows in split.by_name.items()}
    served, metrics = _fit(folds_read, fold)
    record = {**split.record, "fold": f"{fold + 1} of {len(folds_of)}"}
    write_out(served, config, examples, split=record, metrics=metrics, command=command)


def _score_fold(folds_read: Folds, fold: int, report: Path) -> Path:
    """Train one fold, unless its checkpoints say that it is done, and write its scores."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    from batch_fracture.results import parquet  # noqa: PLC0415 - as above
    from training.graph import graph_logits  # noqa: PLC0415 - as above
    from training.score_table import score_table  # noqa: PLC0415 - as above

    test, calibration, train = _roles(folds_read.parts, fold, folds_read.config)
    print(
        f"fold {fold + 1} of {len(folds_read.parts)}: {len(train.rows):,} images, "
        f"{train.num_fractured:,} fractured"
    )
    served, _ = _fit(folds_read, fold)
    scores = [
        score_table(of, graph_logits(served, of.pixels_NSS), fold=fold + 1, part=part)
        for of, part in ((test, "test"), (calibration, "calibration"))
        if of is not None
    ]
    path = report / f"fold-{fold + 1}.parquet"
    put(path, parquet.encode(pa.concat_tables(scores)))
    return path


def _fit(folds_read: Folds, fold: int) -> tuple[ServedNetwork, dict[str, Any]]:
    """The model of one fold, trained unless its checkpoints say that it is done."""

    def seen_by(network: TrainingConfig) -> tuple[Examples, Examples]:
        test, calibration, train = _roles(folds_read.at(network), fold, network)
        return train, calibration or test  # with "last", no epoch is chosen by what is tested

    return fit_networks(folds_read.named(fold), seen_by, storage=folds_read.storage)


def _roles(
    parts: Sequence[Examples], fold: int, config: TrainingConfig
) -> tuple[Examples, Examples | None, Examples]:
    """What one fold tests; what calibrates it and chooses the epoch, if any; what is learned from."""
    test, *others = [parts[(fold + further) % len(parts)] for further in range(len(parts))]
    calibration = others.pop(0) if config.choose_epoch == "best" else None
    return test, calibration, functools.reduce(lambda some, more: some.also(more), others)


def _make(report: Path) -> None:
    try:
        report.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--report {report}: cannot be written ({error.strerror or error})") from error


if __name__ == "__main__":
    main()
