"""Write a trained network as a bundle: fp16 weights, the OpenVINO graph made from those, figures, card.

`python -m training.export --checkpoint STORAGE --out BUNDLE` does so with any checkpoint.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import openvino
import torch
from safetensors.torch import save_file

from batch_fracture.bundle import FILES, FORMAT, Bundle, Member, open_bundle, sha256_of
from batch_fracture.calibration import Calibration
from batch_fracture.engines import OPENVINO_FP32
from batch_fracture.engines.network import ServedNetwork
from batch_fracture.errors import BatchFractureError, BundleError
from training.calibrate import DEFAULT_OPERATING_POINT, choose_operating_points, fit_platt
from training.card import model_card
from training.config import TrainingConfig
from training.ensemble import networks
from training.evaluate import engine_logits
from training.figures import counts
from training.fold import fold_batchnorm
from training.graph import to_graph
from training.inputs import Examples
from training.reporting import report_once, write_beside

CLASSES = ("no fracture", "fracture")


def export_bundle(
    served: ServedNetwork,
    config: TrainingConfig,
    *,
    train: Examples,
    calibration: Examples,
    reporting: Examples,
    training: Mapping[str, Any],
) -> Bundle:
    """Round, convert, calibrate, choose operating points, measure once, and write `config.out`.

    Every figure comes from the files as written, run by the engines that serve. An older bundle is replaced
    only when the new one is complete. Curves and the worst errors go beside it (`training.report`).

    Args:
        served: the trained network; its weights are folded and rounded in place.
        config: its recipe.
        train: what it learned from; only counted.
        calibration: fits the calibration and chooses the operating points.
        reporting: gives the figures; nothing is chosen by it.
        training: what bundle.json says of the training besides recipe and counts: the split among others.

    Raises:
        BundleError: a weight does not fit fp16, or the engines differ by more than `engines.TOLERANCE`.
        CalibrationError: the network learned nothing.
    """
    config.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=config.out.parent, prefix=".bundle-") as draft:
        folder = Path(draft) / config.name
        folder.mkdir()
        write_weights(served, folder, input_size=config.input_size)
        parts = {"train": train, "calibration": calibration, "reporting": reporting}
        fields = _identity(config, served) | {"training": {**training, **_course(config, parts)}}
        fields |= _calibrated(write_bundle(folder, fields), calibration)
        found = report_once(write_bundle(folder, fields), train, calibration, reporting, out=config.out)
        fields["evaluation"] = found.evaluation
        write_bundle(folder, fields)
        _replace(folder, config.out)
    write_beside(config.out, found, reporting)
    return open_bundle(str(config.out))


def write_weights(served: ServedNetwork, folder: Path, *, input_size: int) -> None:
    """Write `model.safetensors`, `model.xml` and `model.bin`, all from the same fp16 numbers.

    Args:
        served: the trained network; BatchNorm is folded and all is rounded, in place.
        folder: exists.
        input_size: S of the graph's input, uint8 (B, S, S) with any B; its outputs are `logit`, fp32 (B,),
            and with an evidence head `evidence`, fp32 (B, h, w).

    Raises:
        BundleError: a weight is too large for fp16, or not a number.
    """
    served.cpu().eval()
    fold_batchnorm(served.network, torch.zeros(1, 3, input_size, input_size))
    weights = {name: _stored(name, tensor) for name, tensor in served.network.state_dict().items()}
    served.network.load_state_dict(weights)
    save_file(weights, folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)  # safetensors lets the owner alone read it; others run it too
    graph = to_graph(served, input_size=input_size)
    openvino.save_model(graph, folder / "model.xml", compress_to_fp16=True)


def write_bundle(folder: Path, fields: Mapping[str, Any]) -> Bundle:
    """Write card and `bundle.json` beside the weights, and open the whole as a run would.

    Args:
        folder: holds the weights.
        fields: all of bundle.json but `format` and `files`.
    """
    (folder / "MODEL_CARD.md").write_text(model_card(fields), encoding="utf-8")
    manifest = {"format": FORMAT, **fields, "files": {name: sha256_of(folder / name) for name in FILES}}
    text = json.dumps(manifest, indent=2, ensure_ascii=False, default=str)
    (folder / "bundle.json").write_text(text + "\n", encoding="utf-8")
    return open_bundle(str(folder))


def _identity(config: TrainingConfig, served: ServedNetwork) -> dict[str, Any]:
    """What a bundle says before anything is measured: logits count as they are."""
    return {
        "name": config.name,
        "architecture": config.architecture,
        "head": served.head,
        "input": asdict(config.input),
        "normalisation": {"mean": served.mean, "std": served.std},
        "mirror": served.mirror,
        "closer": served.closer,
        "fp32_stride": config.fp32_stride,
        "others": [
            asdict(Member(architecture=other.architecture, input_size=other.input_size))
            for other in networks(config)[1:]
        ],
        "classes": CLASSES,
        "calibration": asdict(Calibration(slope=1.0, intercept=0.0)),
        "operating_points": {DEFAULT_OPERATING_POINT: {"threshold": 0.5}},
        "default_operating_point": DEFAULT_OPERATING_POINT,
    }


def _calibrated(draft: Bundle, calibration: Examples) -> dict[str, Any]:
    """Calibration and operating points, by the logits of the reference graph."""
    logit_N = engine_logits(draft, OPENVINO_FP32, calibration)
    fitted = fit_platt(calibration.label_N, logit_N)
    points = choose_operating_points(calibration.label_N, fitted.probability(logit_N))
    described = {name: {k: v for k, v in asdict(at).items() if k != "name"} for name, at in points.items()}
    return {"calibration": asdict(fitted), "operating_points": described}


def _course(config: TrainingConfig, parts: Mapping[str, Examples]) -> dict[str, Any]:
    """Counts, recipe and source, as bundle.json says them."""
    return {
        "counts": {name: counts(examples) for name, examples in parts.items()},
        "recipe": _recipe(config),
        "source": asdict(config.source),
    }


def _recipe(config: TrainingConfig) -> dict[str, Any]:
    """The fields of the configuration that decide the weights."""
    elsewhere = {
        "name",
        "architecture",
        "head",
        "source",
        "labels",
        "images",
        "out",
        "split_seed",
        "val_share",
        "mirror",
        "closer",
        "fp32_stride",
    }
    return {key: value for key, value in asdict(config).items() if key not in elsewhere}


def _replace(folder: Path, out: Path) -> None:
    """Put the finished bundle in place; the older one goes only then."""
    if out.exists():
        old = folder.parent / "old"
        out.rename(old)
        folder.rename(out)
        shutil.rmtree(old)
    else:
        folder.rename(out)


def _stored(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Weights in fp16, kernels and matrices as numbers that bf16 holds too; counts as they are.

    So an engine that computes in bf16 rounds activations alone. A number of 8 significant bits stays one in
    fp16, also where fp16 is subnormal. BatchNorm's variances keep fp32: 1 - eps has no fp16.
    """
    if not tensor.is_floating_point() or name.endswith("running_var"):
        return tensor.contiguous()
    stored = (tensor.bfloat16() if tensor.ndim > 1 else tensor).half()
    if not torch.isfinite(stored).all():
        raise BundleError(f"weights {name}: not all fit fp16; train again with a lower learning rate")
    return stored.contiguous()


@click.command()
@click.option("--checkpoint", required=True, help="A checkpoint, or a storage whose newest one is taken.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Bundle directory to write.")
@click.option("--labels", type=click.Path(path_type=Path), help="Where the table of labels is now.")
@click.option("--images", type=click.Path(path_type=Path), help="Where the images are now.")
def main(checkpoint: str, **overrides: Path | None) -> None:
    """Write the bundle of a checkpoint: calibrated, measured and documented as after the last epoch."""
    from training.checkpoint import open_checkpoint  # noqa: PLC0415 - it needs Ray, the functions above do not
    from training.train import STORAGE, check_out, read_parts, split, write_out  # noqa: PLC0415 - they call these

    try:
        trained = open_checkpoint(checkpoint, **overrides)
        check_out(trained.config.out)
        parts = split(trained.config)
        examples = read_parts(trained.config, parts, STORAGE)
        command = f"python -m training.export --checkpoint {checkpoint}"
        course = {"split": parts.record, "metrics": trained.metrics}
        write_out(trained.served, trained.config, examples, **course, command=command)
    except BatchFractureError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
