"""Any bundle on any labelled table: the part that is meant, every file, and a word where figures flatter."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from batch_fracture.bundle import Bundle, open_bundle, sha256_of
from batch_fracture.engines import OPENVINO_FP32
from training.evaluate import caution, compare_engines, evaluate, main, part_of
from training.labels import read_labels
from training.split import halve_by_group

ROOT = Path(__file__).parents[1]
FILES = {
    *("figures.json", "scores.parquet", "roc.png", "precision_recall.png", "reliability.png"),
    "worst_errors.png",
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 small pictures in groups of two; the second half is `val`."""
    folder = tmp_path_factory.mktemp("labelled")
    random = np.random.default_rng(0)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image_uri", "label", "group", "split", "region"])
        for number in range(64):
            Image.fromarray(random.integers(0, 256, (40, 30), np.uint8)).save(folder / f"{number}.png")
            rows.writerow(
                [f"{number}.png", number % 2, f"g{number // 2}", "train" if number < 32 else "val", "hand"]
            )
    return folder / "labels.csv"


def trained_on(folder: Path, bundle: Bundle, table: Path) -> Bundle:
    """The bundle, saying that it was trained on the table and halved `val` by seed 7."""
    folder.mkdir()
    for name in bundle.manifest["files"]:
        (folder / name).write_bytes((bundle.path / name).read_bytes())
    training = {"labels_sha256": sha256_of(table), "split": {"seed": 7}}
    (folder / "bundle.json").write_text(json.dumps({**bundle.manifest, "training": training}))
    return open_bundle(str(folder))


def invoke(bundle: Bundle, table: Path, report: Path, *more: str) -> Any:
    given = ["--model", str(bundle.path), "--labels", str(table), "--images", str(table.parent)]
    return CliRunner().invoke(main, [*given, "--report", str(report), *more])


def test_figures_are_those_of_the_scores_that_lie_beside_them(
    tiny_bundle: Bundle, table: Path, tmp_path: Path
) -> None:
    done = invoke(tiny_bundle, table, tmp_path / "report", "--part", "all", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "report" / "figures.json").read_text())
    assert {path.name for path in (tmp_path / "report").iterdir()} == FILES
    assert (found["model"], found["model_digest"]) == ("tiny", tiny_bundle.digest)
    scores = pyarrow.parquet.read_table(tmp_path / "report" / "scores.parquet")
    label_N, logit_N = scores["label"].to_numpy(), scores["logit"].to_numpy()
    probability_N = tiny_bundle.calibration.probability(logit_N)
    assert scores["image_uri"].to_pylist()[:2] == ["0.png", "1.png"]
    assert found["auroc"]["value"] == pytest.approx(roc_auc_score(label_N, probability_N))
    assert found["average_precision"]["value"] == pytest.approx(
        average_precision_score(label_N, probability_N)
    )
    assert found["brier"]["value"] == pytest.approx(brier_score_loss(label_N, probability_N))
    right = int(((probability_N >= 0.5) & (label_N == 1)).sum())
    assert found["operating_points"]["balanced"]["sensitivity"]["count"] == right


def test_without_a_part_the_reporting_half_is_measured(
    tiny_bundle: Bundle, table: Path, tmp_path: Path
) -> None:
    bundle = trained_on(tmp_path / "trained", tiny_bundle, table)
    found = evaluate(bundle, table, table.parent, tmp_path / "report")
    rows = [row for row in read_labels(table, table.parent) if row.split == "val"]
    _, reporting = halve_by_group(rows, seed=7)
    scores = pyarrow.parquet.read_table(tmp_path / "report" / "scores.parquet")
    assert scores["image_uri"].to_pylist() == [row.name for row in reporting]
    assert (found["part"], found["caution"]) == ("reporting", None)


def test_images_that_the_bundle_knows_come_with_a_caution(
    tiny_bundle: Bundle, table: Path, tmp_path: Path
) -> None:
    bundle, digest = trained_on(tmp_path / "trained", tiny_bundle, table), sha256_of(table)
    done = invoke(bundle, table, tmp_path / "report", "--part", "calibration")
    assert "tiny was calibrated on these images, so the figures are too good" in done.stdout
    assert "AUROC (by group): " in done.stdout
    assert "it shows radiographs" in done.stdout
    for part in ("all", "train", "val"):
        assert "tiny was trained or calibrated on these images" in str(caution(bundle, digest, part)), part
    assert caution(bundle, digest, "reporting") is None
    assert caution(bundle, "0" * 64, "all") is None


def test_parts_are_whole_and_apart(table: Path) -> None:
    rows = read_labels(table, table.parent)
    parts = {
        part: part_of(rows, part, seed=7) for part in ("all", "train", "val", "calibration", "reporting")
    }
    assert len(parts["all"]) == 64
    assert {row.split for row in parts["train"]} == {"train"}
    halves = [{row.row for row in parts[half]} for half in ("calibration", "reporting")]
    assert halves[0] | halves[1] == {row.row for row in parts["val"]}
    assert not halves[0] & halves[1]


def test_engines_are_compared_by_probability_and_label(tiny_bundle: Bundle) -> None:
    """Probability is sigmoid(2 x logit + 0.1): logits 0 and -0.1 lie on either side of 0.5."""
    reference, other = OPENVINO_FP32, "openvino-bf16"
    logits = {reference: np.array([0.0, 3.0], np.float32), other: np.array([-0.1, -1.0], np.float32)}
    found = compare_engines(tiny_bundle, np.array([0, 1], np.float32), logits)
    assert (found["reference"], found["images"]) == (reference, 2)
    one, two = (tiny_bundle.calibration.probability(logit_B) for logit_B in logits.values())
    first, second = (one - two).tolist()  # 0.5 lies between both pairs
    assert found["others"][other]["max_probability_difference"] == pytest.approx(second)
    assert found["others"][other]["mean_probability_difference"] == pytest.approx((first + second) / 2)
    assert found["others"][other]["labels_changed"] == 2
    assert found["others"][other]["auroc_change"] == -1.0


def test_refusals_are_one_line_and_exit_2(tiny_bundle: Bundle, table: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for given, message in (
        ((tiny_bundle, table.parent / "absent.csv", tmp_path / "report"), "absent.csv: cannot be read"),
        ((tiny_bundle, table, tmp_path / "file" / "report"), "--report"),
    ):
        refused = invoke(*given)
        assert refused.exit_code == 2
        assert message in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_help_holds_an_example_and_loads_neither_torch_nor_ray() -> None:
    assert "python -m training.evaluate --labels" in CliRunner().invoke(main, ["--help"]).stdout
    heavy = "('torch', 'ray', 'timm', 'matplotlib')"
    loaded = (
        f"import sys, training.evaluate, training.pooled; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
