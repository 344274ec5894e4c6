"""Folds measured as one, where no image has a say in its own probability."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import roc_auc_score

from training.calibrate import choose_operating_points, fit_platt
from training.pooled import main, pooled
from training.score_table import SCHEMA, ScoresError

IMAGES, FOLDS = 240, 3


def drawn(*, calibration: bool = False, seed: int = 0) -> pa.Table:
    """Groups of two; with `calibration`, a fifth has that part and folds answer on scales of their own."""
    random = np.random.default_rng(seed)
    number_N = np.arange(IMAGES)
    group_N, fold_N = number_N // 2, number_N // 2 % FOLDS
    label_N = (random.random(IMAGES) < 0.3).astype(int)
    logit_N = random.normal(2 * label_N, 1.0) - 1.5
    if calibration:
        logit_N = logit_N * (1 + fold_N) + 6 * fold_N
    part_N = np.where(calibration & (group_N // FOLDS % 5 == 0), "calibration", "test")
    columns = {
        "image_uri": [f"{number}.png" for number in number_N],
        "label": label_N,
        "group": [f"g{group}" for group in group_N],
        "region": ["hand"] * IMAGES,
        "fold": fold_N,
        "part": part_N,
        "logit": logit_N.astype(np.float32),
    }
    return pa.table(columns).cast(SCHEMA)


def with_label_of(table: pa.Table, index: int) -> pa.Table:
    """The table with one label turned round."""
    label_N = table["label"].to_numpy().copy()
    label_N[index] = 1 - label_N[index]
    return table.set_column(1, "label", pa.array(label_N, pa.int8()))


@pytest.mark.parametrize("calibration", [False, True])
@pytest.mark.parametrize("index", [40, 77, 239])
def test_a_label_has_no_say_in_the_answers_on_its_own_group(calibration: bool, index: int) -> None:
    table = drawn(calibration=calibration)
    one, _ = pooled(table)
    two, _ = pooled(with_label_of(table, index))
    same_N = one.group_N == f"g{index // 2}"
    assert same_N.sum() == 2
    assert (one.label_N != two.label_N).sum() == 1
    np.testing.assert_array_equal(one.probability_N[same_N], two.probability_N[same_N])
    for name, calls in one.calls.items():
        np.testing.assert_array_equal(calls.called_N[same_N], two.calls[name].called_N[same_N])
    if not calibration:  # it does have one in the other folds
        assert (one.probability_N != two.probability_N).sum() > IMAGES / FOLDS


def test_each_fold_is_calibrated_on_its_own_calibration_rows() -> None:
    table = drawn(calibration=True)
    of, folds = pooled(table)
    label_N, logit_N = table["label"].to_numpy().astype(np.float32), table["logit"].to_numpy()
    test_N, fold_N = np.array(table["part"].to_pylist()) == "test", table["fold"].to_numpy()
    assert of.row_N.tolist() == np.flatnonzero(test_N).tolist()
    for fold in range(FOLDS):
        fit_N, use_N = (fold_N == fold) & ~test_N, (fold_N == fold) & test_N
        fitted = fit_platt(label_N[fit_N], logit_N[fit_N])
        points = choose_operating_points(label_N[fit_N], fitted.probability(logit_N[fit_N]))
        probability = fitted.probability(logit_N[use_N])
        np.testing.assert_array_equal(of.probability_N[fold_N[test_N] == fold], probability)
        called = of.calls["balanced"].called_N[fold_N[test_N] == fold]
        np.testing.assert_array_equal(called, probability >= np.float32(points["balanced"].threshold))
        said = folds[fold]
        assert said["calibration"]["slope"] == fitted.slope
        assert said["calibration"]["images"] == fit_N.sum()
        expected = roc_auc_score(label_N[use_N], logit_N[use_N])
        assert (said["images"], said["auroc"]["value"]) == (use_N.sum(), pytest.approx(expected))


def test_scales_of_their_own_are_brought_together() -> None:
    """Raw logits of these folds cannot be compared; calibrated probabilities can."""
    table = drawn(calibration=True)
    of, folds = pooled(table)
    raw = roc_auc_score(of.label_N, table["logit"].to_numpy()[of.row_N])
    together = roc_auc_score(of.label_N, of.probability_N)
    assert raw < 0.8 < together
    assert together == pytest.approx(np.mean([fold["auroc"]["value"] for fold in folds]), abs=0.03)


def test_a_fold_without_calibration_rows_is_calibrated_on_the_other_folds() -> None:
    table = drawn()
    of, folds = pooled(table)
    label_N, logit_N = table["label"].to_numpy().astype(np.float32), table["logit"].to_numpy()
    fold_N = table["fold"].to_numpy()
    for fold in range(FOLDS):
        fitted = fit_platt(label_N[fold_N != fold], logit_N[fold_N != fold])
        expected = fitted.probability(logit_N[fold_N == fold])
        np.testing.assert_array_equal(of.probability_N[fold_N == fold], expected)
        assert folds[fold]["calibration"]["images"] == (fold_N != fold).sum()
    with pytest.raises(ScoresError, match=r"fold 1 needs images of both labels .* further folds"):
        pooled(table.filter(pa.array(fold_N == 1)))


@pytest.mark.parametrize("part", ["test", "calibration"])
def test_a_fold_without_fractures_is_refused(part: str) -> None:
    table = drawn(calibration=True)
    spared_N = (table["fold"].to_numpy() == 1) & (np.array(table["part"].to_pylist()) == part)
    labels = np.where(spared_N, 0, table["label"].to_numpy())
    with pytest.raises(ScoresError, match="fold 1 needs images of both labels"):
        pooled(table.set_column(1, "label", pa.array(labels, pa.int8())))


def test_the_command_writes_figures_curves_and_with_images_the_worst_errors(tmp_path: Path) -> None:
    table = drawn()
    for number, name in enumerate(table["image_uri"].to_pylist()):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (9, 9), np.uint8)).save(
            tmp_path / name
        )
    for fold in range(FOLDS):
        rows = table.filter(pa.array(table["fold"].to_numpy() == fold))
        pyarrow.parquet.write_table(rows, tmp_path / f"fold-{fold}.parquet")
    files = [str(tmp_path / f"fold-{fold}.parquet") for fold in range(FOLDS)]
    report = tmp_path / "report"
    done = CliRunner().invoke(main, [*files, "--report", str(report), "--images", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found == json.loads((report / "figures.json").read_text())
    assert (found["images"], len(found["folds"]), found["groups"]) == (IMAGES, FOLDS, IMAGES // 2)
    pairs = [fold["fractured"] * (fold["images"] - fold["fractured"]) for fold in found["folds"]]
    areas = [fold["auroc"]["value"] for fold in found["folds"]]
    within = found["auroc_within_folds"]
    assert within["value"] == pytest.approx(np.average(areas, weights=pairs))
    assert within["low"] < within["value"] < within["high"]
    assert found["operating_points"]["balanced"]["threshold"] is None
    written = {path.name for path in report.iterdir()}
    pictures = {"roc.png", "precision_recall.png", "reliability.png", "worst_errors.png"}
    assert written == {"figures.json", "scores.parquet", *pictures}
    assert pyarrow.parquet.read_table(report / "scores.parquet").num_rows == IMAGES
    plain = CliRunner().invoke(main, [*files, "--report", str(report)])
    assert "240 images" in plain.stdout
    assert f"AUROC within folds (by group): {within['value']:.3f} ({within['low']:.3f} to" in plain.stdout
    assert plain.stdout.endswith(f"report in {report}\n")
    assert not (report / "worst_errors.png").exists()  # that of the first run would be another's


def test_refusals_are_one_line(tmp_path: Path) -> None:
    refused = CliRunner().invoke(main, [str(tmp_path / "absent.csv"), "--report", str(tmp_path / "report")])
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"error: scores {tmp_path / 'absent.csv'}: cannot be read")
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "report").exists()
