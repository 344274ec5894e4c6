"""A recipe on folds: every image is tested once, by a network that saw none of its group."""

import json
from pathlib import Path

import pyarrow.parquet
import pytest
from click.testing import CliRunner
from training_site import draw_images, write_recipe

from batch_fracture.bundle import open_bundle
from batch_fracture.errors import ConfigError
from training.config import read_config
from training.crossvalidate import check_bundle, main
from training.dealt import deal
from training.labels import read_labels

FOLDS = 3


def test_folds_hold_whole_groups_and_stand_for_splits(tmp_path: Path) -> None:
    rows = read_labels(draw_images(tmp_path), tmp_path)
    dealt = deal(rows, num_folds=FOLDS, seed=0)
    assert [len(fold) for fold in dealt] == [22, 22, 20]
    assert sorted(row.row for fold in dealt for row in fold) == [row.row for row in rows]
    split_of: dict[str, str] = {}
    for number, fold in enumerate(dealt, start=1):
        assert {row.split for row in fold} == {f"fold {number}"}
        assert {row.label for row in fold} == {0, 1}
        for row in fold:
            assert split_of.setdefault(row.group, row.split) == row.split


def test_fewer_than_three_folds_leave_nothing_to_learn_from(tmp_path: Path) -> None:
    refused = CliRunner().invoke(main, ["--config", "x", "--report", str(tmp_path), "--folds", "2"])
    assert refused.exit_code == 2
    assert "2 is not in the range x>=3" in refused.output


def test_a_bundle_whose_epoch_another_fold_chose_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--bundle: choose_epoch"):
        check_bundle(read_config(write_recipe(tmp_path)))


def test_a_fold_that_is_none(tmp_path: Path) -> None:
    config = write_recipe(tmp_path)
    refused = CliRunner().invoke(main, ["--config", str(config), "--report", str(tmp_path), "--only", "6"])
    assert (refused.exit_code, refused.output) == (2, "error: --only 6: there are only 5 folds\n")


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_without_a_choice_of_epochs_all_other_folds_are_learned_from(tmp_path: Path) -> None:
    draw_images(tmp_path)
    config = write_recipe(tmp_path, workers=1, choose_epoch="last")
    arguments = ["--config", str(config), "--report", str(tmp_path / "report"), "--folds", str(FOLDS)]
    done = CliRunner().invoke(
        main,
        [*arguments, "--storage", str(tmp_path / "storage"), "--only", "1", "--bundle", "1"],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    assert "fold 1 of 3: 42 images" in done.output  # 64 but the 22 of the fold
    scores = pyarrow.parquet.read_table(tmp_path / "report" / "fold-1.parquet")
    assert (len(scores), set(scores["part"].to_pylist())) == (22, {"test"})
    bundle = open_bundle(str(read_config(config).out))
    assert bundle.manifest["training"]["split"]["fold"] == "1 of 3"
    counts = bundle.manifest["training"]["counts"]
    assert counts["train"]["images"] == 42
    assert counts["calibration"]["images"] + counts["reporting"]["images"] == 22


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_every_image_is_tested_once_and_a_second_call_trains_nothing(tmp_path: Path) -> None:
    draw_images(tmp_path)
    config = write_recipe(tmp_path, workers=1, epochs=1)
    arguments = ["--config", str(config), "--report", str(tmp_path / "report"), "--folds", str(FOLDS)]
    arguments += ["--storage", str(tmp_path / "storage"), "--json"]
    some = CliRunner().invoke(main, [*arguments, "--only", "3", "--only", "1"], catch_exceptions=False)
    assert some.exit_code == 0, some.output
    assert some.output.count("epoch 1/1") == 2
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [
        "fold-1.parquet",
        "fold-3.parquet",
    ]
    first = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    assert first.output.count("epoch 1/1") == 1  # the other two were trained before
    found = json.loads(first.output.splitlines()[-1])
    assert (found["images"], [fold["images"] for fold in found["folds"]]) == (64, [22, 22, 20])
    assert [fold["calibration"]["images"] for fold in found["folds"]] == [22, 20, 22]
    tests = []
    for number in range(1, FOLDS + 1):
        scores = pyarrow.parquet.read_table(tmp_path / "report" / f"fold-{number}.parquet").to_pylist()
        of = {part: [row for row in scores if row["part"] == part] for part in ("test", "calibration")}
        assert not {row["group"] for row in of["test"]} & {row["group"] for row in of["calibration"]}
        tests += [row["image_uri"] for row in of["test"]]
    assert sorted(tests) == sorted(f"{number}.png" for number in range(64))
    again = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert "epoch" not in again.output.rpartition("\n{")[0]
    assert json.loads(again.output.splitlines()[-1]) == found
