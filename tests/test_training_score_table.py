"""Scores survive Parquet and CSV, and tables that would flatter are refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from labelled import drawn_examples

from training.score_table import SCHEMA, ScoresError, check, read_scores, score_table

LOGITS = np.array([0.5, -1.25, 2.0, -3.0], np.float32)


def table(**changes: list[object]) -> pa.Table:
    """Two folds of two images, a group each."""
    columns = {
        "image_uri": ["a.png", "b.png", "c.png", "d.png"],
        "label": [1, 0, 1, 0],
        "group": ["g0", "g0", "g1", "g1"],
        "region": ["hand", "", "hip", ""],
        "fold": [0, 0, 1, 1],
        "part": ["test"] * 4,
        "logit": LOGITS.tolist(),
    }
    return pa.table({**columns, **changes}, schema=SCHEMA)


def test_rows_say_what_was_scored() -> None:
    found = score_table(drawn_examples(np.array([1, 0, 0, 1])), LOGITS, fold=3, part="calibration")
    assert found.schema == SCHEMA
    assert found.to_pylist()[2] == {
        "image_uri": "2.png",
        "label": 0,
        "group": "g1",
        "region": "hand",
        "fold": 3,
        "part": "calibration",
        "logit": 2.0,
    }


def test_parquet_and_csv_are_read_as_one(tmp_path: Path) -> None:
    whole = table()
    pyarrow.parquet.write_table(whole[:2], tmp_path / "0.parquet")
    pyarrow.csv.write_csv(whole[2:], tmp_path / "1.csv")
    assert read_scores([tmp_path / "0.parquet", tmp_path / "1.csv"]).equals(whole)


def test_region_and_part_may_be_absent(tmp_path: Path) -> None:
    pyarrow.csv.write_csv(table().drop_columns(["region", "part"]), tmp_path / "scores.csv")
    found = read_scores([tmp_path / "scores.csv"])
    assert (found["region"].to_pylist(), found["part"].to_pylist()) == ([""] * 4, ["test"] * 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": [1, 0, 2, 0]}, "a label is neither 0 nor 1"),
        ({"label": [1, 0, None, 0]}, "a label is neither 0 nor 1"),
        ({"logit": [0.5, None, 1.0, 1.0]}, "a logit is missing or not finite"),
        ({"logit": [0.5, float("inf"), 1.0, 1.0]}, "a logit is missing or not finite"),
        ({"part": ["test", "train", "test", "test"]}, "part 'train' is none of test, calibration"),
        ({"image_uri": ["a.png", "b.png", "a.png", "d.png"]}, "a.png is tested more than once"),
        ({"group": ["g0", "g0", "g1", "g0"]}, "group 'g0' is tested in folds 0 and 1"),
        (
            {"part": ["test", "calibration", "test", "test"]},
            "group 'g0' is tested and calibrated on in fold 0",
        ),
    ],
)
def test_refused(changes: dict[str, list[object]], message: str) -> None:
    check(table())
    with pytest.raises(ScoresError, match=message):
        check(table(**changes))


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "words.parquet").write_text("no table")
    pyarrow.csv.write_csv(table().drop_columns(["fold"]), tmp_path / "short.csv")
    for name, message in (
        ("absent.parquet", "cannot be read"),
        ("words.parquet", "cannot be read"),
        ("short.csv", "column fold is missing"),
    ):
        with pytest.raises(ScoresError, match=rf"scores .*{name}: {message}"):
            read_scores([tmp_path / name])
