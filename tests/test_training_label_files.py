"""Tables are read as they stand, and what is written is read back the same, CSV and Parquet alike."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from training.label_files import NoTableError, read_records, write_table
from training.labels import LabelledImage, read_labels

ROWS = [
    LabelledImage(
        row=2, name="a, b.png", path=Path("a, b.png"), label=1, group="7", split="train", region="hand",
        boxes=((0.1, 1 / 3, 0.25, 0.5), (0.5, 0.5, 1.0, 1.0)),
    ),
    LabelledImage(row=3, name="ü.png", path=Path("ü.png"), label=0, group="8", split="train", region=""),
    LabelledImage(row=4, name="c.png", path=Path("c.png"), label=0, group="9", split="val", region=""),
    LabelledImage(row=5, name="d.png", path=Path("d.png"), label=1, group="10", split="val", region=""),
]  # fmt: skip


@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet"])
def test_written_and_read_back(tmp_path: Path, name: str) -> None:
    for row in ROWS:
        (tmp_path / row.name).touch()
    write_table(tmp_path / name, ROWS)
    first = 2 if name.endswith("csv") else 1
    expected = [replace(row, row=at, path=tmp_path / row.name) for at, row in enumerate(ROWS, start=first)]
    assert read_labels(tmp_path / name, tmp_path) == expected


def test_columns_that_nothing_uses_are_not_written(tmp_path: Path) -> None:
    write_table(tmp_path / "labels.csv", [replace(row, split="", boxes=(), region="") for row in ROWS[1:3]])
    assert (tmp_path / "labels.csv").read_text() == "image_uri,label,group\nü.png,0,8\nc.png,0,9\n"
    write_table(tmp_path / "labels.parquet", [replace(row, boxes=()) for row in ROWS])
    assert list(pd.read_parquet(tmp_path / "labels.parquet").columns) == [
        *("image_uri", "label", "group", "split", "region")
    ]


def test_parquet_as_pandas_writes_it(tmp_path: Path) -> None:
    """Whole numbers, floats with gaps and JSON text, which are what people have in data frames."""
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").touch()
    pd.DataFrame(
        {
            "image_uri": ["a.png", "b.png"],
            "label": [0.0, 1.0],
            "group": [1, 2],
            "region": [None, "hand"],
            "boxes": [None, "[[0.5, 0.5, 0.1, 0.1]]"],
        }
    ).to_parquet(tmp_path / "labels.parquet")
    one, other = read_labels(tmp_path / "labels.parquet", tmp_path)
    assert (one.label, one.group, one.region, one.boxes) == (0, "1", "", ())
    assert (other.label, other.group, other.region, other.boxes) == (1, "2", "hand", ((0.5, 0.5, 0.1, 0.1),))


def test_a_row_has_the_number_of_its_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b'\xef\xbb\xbfimage_uri,label\n"a\nb.png",0\n\nc.png,1\n')
    columns, records = read_records(path)
    assert columns == ["image_uri", "label"]
    assert [(row, record["image_uri"]) for row, record in records] == [(3, "a\nb.png"), (5, "c.png")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.csv", b"image_uri\n\xff.png\n", r"^cannot be read \('utf-8' codec can't decode byte 0xff"),
        ("labels.csv", b'image_uri\n"a.png', r"^cannot be read \(unexpected end of data\)$"),
        ("labels.parquet", b"image_uri\n", "^cannot be read as Parquet "),
        ("absent.parquet", None, r"^cannot be read as Parquet \("),
    ],
)
def test_no_table(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(NoTableError, match=message):
        read_records(tmp_path / name)
