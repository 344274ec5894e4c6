"""The command: refusals in one line, and one real training of a tiny timm network from end to end."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from training_site import SIZE, draw_images, write_recipe

from batch_fracture.bundle import open_bundle
from batch_fracture.engines import OPENVINO_FP32, TOLERANCE, TORCH_FP32, open_engine
from training.card import model_card

ROOT = Path(__file__).parents[1]


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "training.train", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_help_holds_a_runnable_example_and_loads_neither_torch_nor_ray() -> None:
    shown = command("--help")
    assert shown.returncode == 0
    assert "python -m training.train --config training/configs/fracatlas-lite0.toml" in shown.stdout
    loaded = "import sys, training.train; print([m for m in ('torch', 'ray', 'timm') if m in sys.modules])"
    imported = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert imported.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": "/absent.csv"}, "error: labels /absent.csv: cannot be read (No such file or directory)"),
        ({"epochs": 0}, "epochs = 0: it must be 1 or more"),
        ({"mood": 1}, "unknown key mood"),
        ({"out": str(ROOT / "tests")}, "it exists and is no bundle; name another folder"),
        ({"batch_size": 64}, "batch_size = 64: there are only 32 training images"),
        ({"initial_weights": "imagenet"}, "ImageNet weights are known for tf_efficientnet_lite0"),
    ],
)
def test_refusals_are_one_line_and_exit_2(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    draw_images(tmp_path)
    refused = command("--config", write_recipe(tmp_path, **changes), "--storage", tmp_path / "storage")
    assert refused.returncode == 2, refused.stderr
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.slow
def test_end_to_end(tmp_path: Path) -> None:
    """Two workers train, the bundle opens, both engines agree; the same command again finds it trained."""
    draw_images(tmp_path)
    arguments = ("--config", write_recipe(tmp_path), "--storage", tmp_path / "storage")
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        *("train", "calibration", "reporting"),
        *("epoch 1/2", "epoch 2/2"),
        "AUROC 1.000 (0.756 to 1.000) on the reporting part",
        done.stdout.splitlines()[-1],
    ]
    bundle = open_bundle(str(tmp_path / "bundle"))
    assert bundle.manifest["training"]["counts"]["train"] == {"images": 32, "fractured": 16, "groups": 16}
    split = bundle.manifest["training"]["split"]
    assert (split["by"], split["seed"], split["reporting"]) == ("group", 0, "half of val")
    assert len(split["sha256"]) == 64
    assert bundle.manifest["evaluation"]["reporting"]["auroc"]["value"] == 1.0
    assert (bundle.path / "MODEL_CARD.md").read_text(encoding="utf-8") == model_card(bundle.manifest)
    pixels_BSS = np.random.default_rng(1).integers(0, 256, (5, SIZE, SIZE), np.uint8)
    logit = {
        name: open_engine(name, bundle, num_threads=1)(pixels_BSS) for name in (OPENVINO_FP32, TORCH_FP32)
    }
    one, other = (bundle.calibration.probability(logit_B) for logit_B in logit.values())
    assert np.abs(one - other).max() <= TOLERANCE

    weights = (bundle.path / "model.safetensors").read_bytes()
    again = command(*arguments)
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    assert "epoch" not in again.stdout
    assert (bundle.path / "model.safetensors").read_bytes() == weights
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".bundle")]
