"""READ FIRST. Labels -> halves by group -> Ray Train -> calibration, operating points, figures -> bundle."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from pathlib import Path
from typing import Any

import click

import batch_fracture
from batch_fracture.bundle import sha256_of
from batch_fracture.errors import BatchFractureError, ConfigError
from training.config import TrainingConfig, read_config
from training.labels import read_labels
from training.split import halve_by_group

STORAGE = str(Path.home() / ".cache" / "batch-fracture" / "training")
_EPILOG = """\b
Example:
  python -m training.train --config training/configs/fracatlas-lite0.toml \\
      --labels ../shared/radiographs/labels.csv --images ../shared/radiographs --out /tmp/my-bundle
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), required=True, help="The recipe, TOML."
)
@click.option("--labels", type=click.Path(path_type=Path), help="CSV: path, label, group, split[, region].")
@click.option("--images", type=click.Path(path_type=Path), help="The folder that the CSV's paths start from.")
@click.option("--out", type=click.Path(path_type=Path), help="Bundle directory to write.")
@click.option("--workers", type=int, help="Ray Train workers.")
@click.option("--epochs", type=int, help="Passes over the training images.")
@click.option(
    "--storage", default=STORAGE, show_default=True, help="Checkpoints: a folder or s3://bucket/prefix."
)
def main(config_path: Path, storage: str, **overrides: Any) -> None:
    """Train a fracture classifier and write its bundle.

    Flags win over the file. The same command goes on from the newest checkpoint after an interruption.
    """
    try:
        config = read_config(config_path, **overrides)
        train(config, storage, command=f"python -m training.train --config {config_path}")
    except BatchFractureError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


def train(config: TrainingConfig, storage: str, *, command: str) -> None:
    """From labels to a bundle at `config.out`; checkpoints go to `storage`, `command` onto the card."""
    check_out(config.out)
    rows = read_labels(config.labels, config.images)
    # torch, ray and timm take seconds to import: --help and a wrong key do not wait for them.
    from training.export import export_bundle  # noqa: PLC0415
    from training.fit import fit  # noqa: PLC0415
    from training.inputs import read_examples  # noqa: PLC0415
    from training.network import new_network  # noqa: PLC0415

    new_network(config)  # refuses before hours of work
    examples = read_examples(config.labels, rows, config.input)
    train_part = examples.only(row for row in rows if row.split == "train")
    halves = halve_by_group([row for row in rows if row.split == "val"], seed=config.split_seed)
    calibration, reporting = (examples.only(half) for half in halves)
    for name, part in (("train", train_part), ("calibrate", calibration), ("report", reporting)):
        print(
            f"{name}: {len(part.rows):,} images, {part.num_fractured:,} fractured, {part.num_groups:,} groups"
        )
    served, metrics = fit(config, train_part, calibration, storage=storage)
    bundle = export_bundle(
        served,
        config,
        train=train_part,
        calibration=calibration,
        reporting=reporting,
        training=provenance(config, trained_s=metrics["trained_s"], command=command),
    )
    area = bundle.manifest["evaluation"]["reporting"]["auroc"]
    print(f"AUROC {area['value']:.3f} ({area['low']:.3f} to {area['high']:.3f}) on the reporting half")
    print(f"bundle {bundle.path} ({bundle.digest[:12]}); figures in {bundle.path / 'MODEL_CARD.md'}")


def check_out(out: Path) -> None:
    """Refuse to write over anything but a bundle.

    Raises:
        ConfigError: `out` is there, is not empty and is no bundle.
    """
    if out.exists() and not (out / "bundle.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: it exists and is no bundle; name another folder")


def provenance(config: TrainingConfig, *, trained_s: float, command: str) -> dict[str, Any]:
    """What the bundle says of where it came from.

    Args:
        config: the recipe.
        trained_s: seconds in epochs, over all resumptions.
        command: how to do it again.
    """
    from training.imagenet import described  # noqa: PLC0415 - as above

    return {
        "labels_sha256": sha256_of(config.labels),
        "initial_weights": described(config.architecture)
        if config.initial_weights == "imagenet"
        else "random numbers",
        "minutes": round(trained_s / 60, 1),
        "machine": f"{_machine(config.workers)}, {config.workers} Ray Train worker(s)",
        "command": command,
        "code_version": batch_fracture.__version__,
        "code_sha256": code_sha256(),
    }


def code_sha256() -> str:
    """sha256 (hex) over the source that decides weights and inputs: `training`, decoding, preprocessing."""
    root = Path(__file__).parent
    package = Path(batch_fracture.__file__).parent
    sources = [*root.glob("*.py"), *(package / "decode").glob("*.py"), package / "preprocess.py"]
    digest = hashlib.sha256()
    for source in sorted(sources, key=lambda path: (path.parent.name, path.name)):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()


def _machine(num_workers: int) -> str:
    """What the workers ran on, as `fit.scaling` chooses it."""
    import torch  # noqa: PLC0415 - as above

    if torch.cuda.device_count() >= num_workers:
        return f"{num_workers} x {torch.cuda.get_device_name()}"
    return f"{os.cpu_count()} CPU cores ({_processor()})"


def _processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


if __name__ == "__main__":
    main()
