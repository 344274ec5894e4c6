"""Training reads images by the very path that serves."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from batch_fracture import decode
from batch_fracture.preprocess import InputSpec, read_input
from batch_fracture.settings import ReadingSettings
from training.inputs import Examples, read_examples
from training.labels import LabelledImage
from training.problems import LabelsError

SPEC = InputSpec(size=64)


def rows(folder: Path, names: list[str]) -> list[LabelledImage]:
    return [
        LabelledImage(
            row=number + 2,
            name=name,
            path=folder / name,
            label=number % 2,
            group=f"g{number // 2}",
            split="train",
            region="",
        )
        for number, name in enumerate(names)
    ]


def drawn(folder: Path, names: list[str]) -> list[LabelledImage]:
    random = np.random.default_rng(0)
    for name in names:
        Image.fromarray(random.integers(0, 256, (90, 70), np.uint8)).save(folder / name)
    return rows(folder, names)


def test_pixels_are_those_that_runs_see(tmp_path: Path) -> None:
    table = drawn(tmp_path, ["a.png", "b.jpg", "c.tif"])
    examples = read_examples(tmp_path / "labels.csv", table, SPEC)
    assert examples.pixels_NSS.shape == (3, 64, 64)
    for row, pixels_SS in zip(table, examples.pixels_NSS, strict=True):
        content = row.path.read_bytes()
        served_SS = read_input(content, decode.read_header(content, ReadingSettings()), SPEC)
        assert np.array_equal(pixels_SS, served_SS)


def test_parts_keep_rows_and_pixels_together(tmp_path: Path) -> None:
    table = drawn(tmp_path, ["a.png", "b.png", "c.png", "d.png"])
    examples = read_examples(tmp_path / "labels.csv", table, SPEC)
    part = examples.only([table[3], table[1]]).also(examples.only(table[:1]))
    assert [row.name for row in part.rows] == ["d.png", "b.png", "a.png"]
    assert np.array_equal(part.pixels_NSS, examples.pixels_NSS[[3, 1, 0]])
    assert part.label_N.tolist() == [1.0, 1.0, 0.0]
    assert (part.num_fractured, part.num_groups) == (2, 2)


def test_boxes_are_those_of_the_input(tmp_path: Path) -> None:
    table = drawn(tmp_path, ["a.png", "b.png", "c.png"])  # 90 rows, 70 columns: 64 and 50 in the input
    table[1] = dataclasses.replace(table[1], boxes=((0.5, 0.5, 1.0, 1.0), (0.25, 0.5, 0.5, 0.2)))
    examples = read_examples(tmp_path / "labels.csv", table, SPEC)
    assert [len(boxes_K4) for boxes_K4 in examples.boxes] == [0, 2, 0]
    np.testing.assert_allclose(examples.boxes[1] * 64, [[7, 0, 57, 64], [7, 25.6, 32, 38.4]], atol=1e-4)
    part = examples.only([table[2], table[1]]).also(examples.only(table[:1]))
    assert [len(boxes_K4) for boxes_K4 in part.boxes] == [0, 2, 0]
    plain = Examples(rows=tuple(table), pixels_NSS=examples.pixels_NSS)
    assert [len(boxes_K4) for boxes_K4 in plain.only(table[:2]).boxes] == [0, 0]


def test_unreadable_images_stop_training_by_row(tmp_path: Path) -> None:
    table = drawn(tmp_path, ["a.png", "b.png", "c.png"])
    (tmp_path / "a.png").unlink()
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:2000])
    with pytest.raises(LabelsError) as refused:
        read_examples(tmp_path / "labels.csv", table, SPEC)
    assert str(refused.value) == (
        f"labels {tmp_path}/labels.csv: row 2: a.png cannot be read (GONE: No such file or directory); "
        "row 3: b.png cannot be read (TRUNCATED: the PNG has no end chunk); "
        "python -m training.labels leaves such rows out (--skip-bad) or deals splits that keep look-alikes "
        "together (--split); --allow-near-duplicates lets look-alikes pass"
    )


def test_one_picture_with_two_labels_stops_training(tmp_path: Path) -> None:
    table = drawn(tmp_path, ["a.png", "b.png"])
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    with pytest.raises(LabelsError, match=r"row 3: b\.png is the same image as row 2, with another label"):
        read_examples(tmp_path / "labels.csv", table, SPEC, allow_near_duplicates=True)
    Image.fromarray(np.asarray(Image.open(tmp_path / "a.png"))).save(tmp_path / "b.tif")
    table = rows(tmp_path, ["a.png", "b.tif"])
    with pytest.raises(LabelsError, match=r"row 3: b\.tif looks the same as row 2 \(0 of 256 bits differ\)"):
        read_examples(tmp_path / "labels.csv", table, SPEC)
    assert len(read_examples(tmp_path / "labels.csv", table, SPEC, allow_near_duplicates=True).rows) == 2
