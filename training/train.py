"""READ FIRST. Labels -> halves by group -> Ray Train -> calibration, operating points, figures -> bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batch_fracture.errors import BatchFractureError, ConfigError
from training.config import TrainingConfig, read_config
from training.ensemble import fit_networks, trainings
from training.labels import read_labels, table_problems
from training.problems import refuse
from training.split import Parts, parts_of, with_split

if TYPE_CHECKING:
    from batch_fracture.engines.network import ServedNetwork
    from training.inputs import Examples

STORAGE = str(Path.home() / ".cache" / "batch-fracture" / "training")
_EPILOG = """\b
Example:
  python -m training.train --config training/configs/fracatlas-lite0.toml \\
      --labels runs/fracatlas.csv --images ../shared/radiographs --out /tmp/my-bundle
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), required=True, help="The recipe, TOML."
)
@click.option("--labels", type=click.Path(path_type=Path), help="Table, CSV or Parquet.")
@click.option("--images", type=click.Path(path_type=Path), help="The folder that its image_uris start from.")
@click.option("--out", type=click.Path(path_type=Path), help="Bundle directory to write.")
@click.option("--workers", type=int, help="Ray Train workers.")
@click.option(
    "--allow-near-duplicates", is_flag=True, default=None, help="Look-alikes may contradict each other."
)
@click.option("--epochs", type=int, help="Passes over the training images.")
@click.option(
    "--storage", default=STORAGE, show_default=True, help="Checkpoints: a folder, or s3://bucket/prefix."
)
@click.option("--dry-run", is_flag=True, help="Check labels, recipe and memory; train and write nothing.")
def main(config_path: Path, storage: str, dry_run: bool, **overrides: Any) -> None:
    """Train a fracture classifier and write its bundle.

    `python -m training.labels` writes the table. Flags win over the file. The same command goes on from the
    newest checkpoint after an interruption.
    """
    try:
        config = read_config(config_path, **overrides)
        if dry_run:
            rehearse(config)
        else:
            train(config, storage, command=f"python -m training.train --config {config_path}")
    except BatchFractureError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


def train(config: TrainingConfig, storage: str, *, command: str) -> None:
    """From labels to a bundle at `config.out`; checkpoints go to `storage`, `command` onto the card."""
    check_out(config.out)
    parts = split(config)
    # torch, ray and timm take seconds to import: --help and a wrong key do not wait for them.
    from training.network import new_network  # noqa: PLC0415

    for training in trainings(config):
        new_network(training)  # refuses before hours of work
    examples = read_parts(config, parts, storage)

    def seen_by(network: TrainingConfig) -> tuple[Examples, Examples]:
        seen = examples if network.input == config.input else read_parts(network, parts, storage)
        return seen["train"], seen["calibration"]

    served, metrics = fit_networks(config, seen_by, storage=storage)
    write_out(served, config, examples, split=parts.record, metrics=metrics, command=command)


def rehearse(config: TrainingConfig) -> None:
    """Say in seconds whether a training could begin, and what it would take."""
    check_out(config.out)
    parts = split(config)
    from training import dry_run  # noqa: PLC0415 - as above

    for name, rows in parts.by_name.items():
        print(f"{name}: {len(rows):,} images, {sum(row.label for row in rows):,} fractured")
    for line in dry_run.rehearse(config, parts):
        print(line)


def split(config: TrainingConfig) -> Parts:
    """Read and check the table; what is learned from, what calibrates, and what gives the figures."""
    rows = read_labels(config.labels, config.images)
    if not rows[0].split:
        rows = with_split(rows, seed=config.split_seed, val_share=config.val_share)
        refuse(config.labels, table_problems(rows))
    return parts_of(rows, seed=config.split_seed)


def read_parts(config: TrainingConfig, parts: Parts, storage: str) -> dict[str, Examples]:
    """All images, decoded now or before, by what they are for."""
    from training.decoded import read_cached  # noqa: PLC0415 - as above

    cache = Path(STORAGE if "://" in storage else storage) / "decoded"
    examples = read_cached(
        config.labels, parts.rows, config.input, cache, allow_near_duplicates=config.allow_near_duplicates
    )
    found = {name: examples.only(rows) for name, rows in parts.by_name.items()}
    for name, part in found.items():
        print(
            f"{name}: {len(part.rows):,} images, {part.num_fractured:,} fractured, {part.num_groups:,} groups"
        )
    return found


def write_out(
    served: ServedNetwork,
    config: TrainingConfig,
    examples: dict[str, Examples],
    *,
    split: dict[str, Any],
    metrics: dict[str, Any],
    command: str,
) -> None:
    """Write the bundle and its report, and say how good it is."""
    from training.export import export_bundle  # noqa: PLC0415 - as above
    from training.provenance import provenance  # noqa: PLC0415 - as above
    from training.report import folder_beside  # noqa: PLC0415 - as above

    training = provenance(config, split, metrics=metrics, command=command)
    bundle = export_bundle(served, config, **examples, training=training)
    area = bundle.manifest["evaluation"]["reporting"]["auroc"]
    print(f"AUROC {area['value']:.3f} ({area['low']:.3f} to {area['high']:.3f}) on the reporting part")
    print(
        f"bundle {bundle.path} ({bundle.digest[:12]}); figures in {bundle.path / 'MODEL_CARD.md'}; curves "
        f"and the worst errors in {folder_beside(config.out)}, which shows radiographs"
    )


def check_out(out: Path) -> None:
    """Refuse to write over anything but a bundle.

    Raises:
        ConfigError: `out` is there, is not empty and is no bundle.
    """
    if out.exists() and not (out / "bundle.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: it exists and is no bundle; name another folder")


if __name__ == "__main__":
    main()
