"""Ray Train for real: workers that agree, die, and are given up; a run goes on from what was kept."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deltalake import DeltaTable
from training_site import draw_images, meanwhile, metrics_of, train_workers, write_recipe

from batch_fracture.bundle import open_bundle
from batch_fracture.config import RunConfig
from batch_fracture.engines import OPENVINO_FP32, TOLERANCE
from batch_fracture.engines.network import ServedNetwork
from batch_fracture.errors import ConfigError, WriteError
from batch_fracture.run import run
from batch_fracture.screen import PlainScreen
from training.checkpoint import open_checkpoint
from training.config import TrainingConfig, read_config
from training.evaluate import engine_logits
from training.fit import TrainingError, fit
from training.inputs import Examples, read_examples
from training.labels import read_labels
from training.split import parts_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
CAREFUL = {
    "architecture": "test_efficientnet",
    "head": "evidence",
    "batchnorm": "frozen",
    "precision": "fp32",
    "drop_rate": 0.0,
    "drop_path_rate": 0.0,
    "accumulation": 2,
    "learning_rate": 0.003,
    "epochs": 4,
}


class Site:
    """Images that are read once, and recipes for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        draw_images(folder)
        rows = read_labels(folder / "labels.csv", folder)
        examples = read_examples(folder / "labels.csv", rows, self.config().input)
        parts = parts_of(rows, seed=0)
        self.train: Examples = examples.only(parts.train)
        self.calibration: Examples = examples.only(parts.calibration)

    def config(self, **changes: Any) -> TrainingConfig:
        return read_config(write_recipe(self.folder, **{**CAREFUL, **changes}))

    def fit(self, storage: Path | str, **changes: Any) -> tuple[ServedNetwork, dict[str, Any]]:
        return fit(self.config(**changes), self.train, self.calibration, storage=str(storage))


@pytest.fixture(scope="module", autouse=True)
def short_waits() -> Iterator[None]:
    """Ray Train looks after its workers every 2 s, which epochs of half a second would wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
        yield


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, ray_session: str) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def undisturbed(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of a run of two workers that nobody disturbed."""
    storage = tmp_path_factory.mktemp("undisturbed")
    site.fit(storage)
    return storage


def figures(storage: Path) -> list[tuple[float, float]]:
    return [(metrics["loss"], metrics["auroc_calibration"]) for metrics in metrics_of(storage)]


def test_one_worker_and_two_learn_alike(site: Site, undisturbed: Path, tmp_path: Path) -> None:
    site.fit(tmp_path, workers=1, accumulation=1)
    one, two = np.array(figures(tmp_path)), np.array(figures(undisturbed))
    assert one.shape == (4, 2)
    assert one[0, 0] > 1.02 * one[-1, 0]  # it does learn
    np.testing.assert_allclose(two[:, 0], one[:, 0], rtol=1e-5)
    np.testing.assert_allclose(two[:, 1], one[:, 1], atol=1e-9)


def test_the_newest_checkpoints_are_kept(undisturbed: Path) -> None:
    assert len(list(undisturbed.glob("*/checkpoint_2*"))) == 2


def test_a_killed_worker_costs_an_epoch_at_most(site: Site, undisturbed: Path, tmp_path: Path) -> None:
    def kill() -> None:
        os.kill(train_workers()[-1].pid, signal.SIGKILL)

    with meanwhile(lambda: len(metrics_of(tmp_path)) == 1, kill) as killed:
        served, metrics = site.fit(tmp_path)
    assert killed
    assert figures(tmp_path) == figures(undisturbed)
    whole, _ = site.fit(undisturbed)  # ended: it is only read
    for (name, tensor), other in zip(served.state_dict().items(), whole.state_dict().values(), strict=True):
        np.testing.assert_array_equal(tensor.numpy(), other.numpy(), err_msg=name)
    assert metrics["epoch"] == 4


def test_a_killed_driver_loses_nothing(site: Site, undisturbed: Path, tmp_path: Path) -> None:
    """The same command goes on to a bundle; its checkpoint exports an equal one; a run gives its scores."""
    arguments = ["--config", write_recipe(site.folder, **CAREFUL, out=str(tmp_path / "bundle"))]
    command = [sys.executable, "-m", "training.train", *arguments, "--storage", tmp_path / "storage"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        for line in first.stdout or ():
            if line.startswith("epoch 2"):
                first.kill()
    assert first.returncode == -signal.SIGKILL
    assert len(metrics_of(tmp_path / "storage")) < 4
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (second.returncode, second.stderr) == (0, "")
    assert "epoch 1/4" not in second.stdout
    assert figures(tmp_path / "storage") == figures(undisturbed)

    command = [sys.executable, "-m", "training.export", "--checkpoint", tmp_path / "storage"]
    exported = subprocess.run(
        [*command, "--out", tmp_path / "again"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert (exported.returncode, exported.stderr) == (0, "")
    for name in ("model.safetensors", "model.bin"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "bundle" / name).read_bytes()
    _scores_are_those_of_training(site, tmp_path)


def _scores_are_those_of_training(site: Site, folder: Path) -> None:
    """A run of the exported bundle on the calibration images, against the checkpoint's own network."""
    bundle = open_bundle(str(folder / "again"))
    sources = tuple(str(row.path) for row in site.calibration.rows)
    run(
        RunConfig(
            source=sources,
            results=str(folder / "results"),
            model=str(bundle.path),
            engine=OPENVINO_FP32,  # others keep labels, not scores to the last digit
        ),
        PlainScreen(sys.stderr),
    )
    readings = DeltaTable(folder / "results" / "readings").to_pandas()
    score_of = dict(zip(readings["image_uri"], readings["probability"], strict=True))
    evaluated_N = bundle.calibration.probability(
        engine_logits(bundle, OPENVINO_FP32, site.calibration, num_threads=1)
    )
    served = open_checkpoint(str(folder / "storage")).served
    with torch.inference_mode():
        trained_N = bundle.calibration.probability(
            served(torch.from_numpy(site.calibration.pixels_NSS))[0].numpy()
        )
    for row, evaluated, trained in zip(site.calibration.rows, evaluated_N, trained_N, strict=True):
        assert abs(score_of[str(row.path)] - evaluated) <= TOLERANCE, row.name
        assert abs(score_of[str(row.path)] - trained) <= 0.1, row.name  # weights were rounded to bf16


def test_a_worker_that_dies_too_often_is_told_of(site: Site, tmp_path: Path) -> None:
    def kill() -> None:
        os.kill(train_workers()[0].pid, signal.SIGKILL)

    with (
        meanwhile(lambda: len(metrics_of(tmp_path)) == 1, kill),
        pytest.raises(TrainingError, match=r"training failed: .*The newest checkpoint is kept in .*/tiny-"),
    ):
        site.fit(tmp_path, workers=1, max_failures=0)


def test_a_loss_that_is_no_number_says_where(site: Site, tmp_path: Path) -> None:
    # A decay of 20 times each weight makes it grow so much with each step.
    growing = {"learning_rate": 20.0, "weight_decay": 1.0, "warmup_epochs": 0.0, "batchnorm": "live"}
    with pytest.raises(TrainingError) as caught:
        site.fit(tmp_path, **growing, epochs=9, batch_size=16)
    done = len(metrics_of(tmp_path))
    assert done >= 1
    assert str(caught.value).startswith(f"the loss is not a number any more at epoch {done + 1}, step ")
    assert "lower learning_rate" in str(caught.value)
    assert f"The checkpoint of epoch {done} is kept in {tmp_path}" in str(caught.value)
    assert list(tmp_path.glob("*/checkpoint_2*"))


def test_a_disk_without_room_says_so(site: Site, tmp_path: Path) -> None:
    def limit() -> None:
        for worker in train_workers():
            resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (200_000, 200_000))

    with (
        meanwhile(lambda: bool(train_workers()), limit),
        pytest.raises(
            WriteError, match=rf"storage {tmp_path}/tiny-\w+ cannot be written \(File too large\); make"
        ),
    ):
        site.fit(tmp_path, workers=1, max_failures=0)


def test_checkpoints_in_a_bucket(site: Site, bucket: str) -> None:
    storage = f"s3://{bucket}/training"
    served, metrics = site.fit(storage, workers=1, epochs=1)
    again, found = site.fit(storage, workers=1, epochs=1)  # it is finished: nothing is trained
    assert found == metrics
    for tensor, other in zip(served.state_dict().values(), again.state_dict().values(), strict=True):
        np.testing.assert_array_equal(tensor.numpy(), other.numpy())


def test_too_few_images_for_a_step(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size = 64: there are only 32 training images"):
        site.fit(tmp_path, batch_size=64)
