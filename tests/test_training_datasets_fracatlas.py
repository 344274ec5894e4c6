"""FracAtlas as published, and the subset that lies beside this repository."""

from pathlib import Path

import pytest

from training.datasets import fracatlas, fracatlas_subset
from training.problems import LabelsError

HEADER = (
    "image_id,hand,leg,hip,shoulder,mixed,hardware,multiscan,"
    "fractured,fracture_count,frontal,lateral,oblique\n"
)
ROWS = (
    "IMG0000003.jpg,1,0,0,0,0,0,0,1,2,1,0,0\n"
    "IMG0000001.jpg,1,0,0,0,0,0,0,0,0,1,0,0\n"
    "IMG0000004.jpg,0,1,0,0,0,0,0,0,0,1,0,0\n"
    "IMG0000007.jpg,0,1,0,0,0,0,0,0,0,1,0,0\n"
    "IMG0000008.jpg,0,1,1,0,1,0,0,0,0,1,0,0\n"
)


def published(folder: Path, rows: str = ROWS) -> Path:
    (folder / "Annotations" / "YOLO").mkdir(parents=True)
    (folder / "Annotations" / "YOLO" / "IMG0000003.txt").write_text("0 0.5 0.4 0.1 0.2\n0 0.1 0.1 0.1 0.1\n")
    (folder / "Annotations" / "YOLO" / "IMG0000001.txt").write_text("")
    (folder / "dataset.csv").write_text(HEADER + rows)
    return folder


def test_rows_of_the_published_folder(tmp_path: Path) -> None:
    rows = fracatlas.read(published(tmp_path))
    assert [(r.row, r.name, r.label, r.group, r.split, r.region) for r in rows] == [
        (2, "images/Non_fractured/IMG0000001.jpg", 0, "run0000001", "", "hand"),
        (3, "images/Fractured/IMG0000003.jpg", 1, "run0000001", "", "hand"),
        (4, "images/Non_fractured/IMG0000004.jpg", 0, "run0000004", "", "leg"),
        (5, "images/Non_fractured/IMG0000007.jpg", 0, "run0000007", "", "leg"),
        (6, "images/Non_fractured/IMG0000008.jpg", 0, "run0000008", "", "leg+hip+mixed"),
    ]
    assert [row.boxes for row in rows[:3]] == [(), ((0.5, 0.4, 0.1, 0.2), (0.1, 0.1, 0.1, 0.1)), ()]
    assert rows[1].path == tmp_path / "images" / "Fractured" / "IMG0000003.jpg"


def test_runs_have_at_most_twelve_images(tmp_path: Path) -> None:
    rows = "".join(f"IMG{number:07d}.jpg,1,0,0,0,0,0,0,0,0,1,0,0\n" for number in range(30))
    groups = [row.group for row in fracatlas.read(published(tmp_path, rows))]
    assert [groups.count(group) for group in dict.fromkeys(groups)] == [12, 12, 6]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("scan7.jpg,1,0,0,0,0,0,0,0,0,1,0,0\n", "row 2: image_id 'scan7.jpg' is not as in IMG0000019.jpg"),
        ("IMG7.jpg,1,0,0,0,0,0,0,yes,0,1,0,0\n", "row 2: fractured 'yes' is neither 0 nor 1"),
    ],
)
def test_values_that_mean_nothing(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(LabelsError) as refused:
        fracatlas.read(published(tmp_path, row))
    assert str(refused.value) == f"labels {tmp_path}/dataset.csv: {message}"


def test_rows_of_a_subset(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        "path,label,source,split,group,region\n"
        "fractured/a.jpg,1,x,train,g0,leg\nnon_fractured/b.jpg,0,x,val,g1,hand\n"
    )
    (tmp_path / "boxes.csv").write_text(
        "path,x_centre,y_centre,width,height\n"
        "fractured/a.jpg,0.5,0.4,0.1,0.2\nfractured/a.jpg,0.1,0.1,0.1,0.1\n"
    )
    one, other = fracatlas_subset.read(tmp_path)
    assert (one.name, one.label, one.group, one.split, one.region) == (
        "fractured/a.jpg",
        1,
        "g0",
        "train",
        "leg",
    )
    assert one.boxes == ((0.5, 0.4, 0.1, 0.2), (0.1, 0.1, 0.1, 0.1))
    assert (other.name, other.label, other.split, other.boxes) == ("non_fractured/b.jpg", 0, "val", ())
    (tmp_path / "boxes.csv").write_text(
        "path,x_centre,y_centre,width,height\nfractured/a.jpg,a,0.4,0.1,0.2\n"
    )
    with pytest.raises(LabelsError, match=r"boxes\.csv: row 2: the box is not four numbers$"):
        fracatlas_subset.read(tmp_path)


def test_the_real_subset(shared: Path) -> None:
    rows = fracatlas_subset.read(shared / "radiographs")
    assert len(rows) == 3328
    assert sum(row.label for row in rows) == 582
    assert sum(len(row.boxes) for row in rows) == 752
    assert all(row.path.is_file() for row in rows)
    assert all(bool(row.boxes) == bool(row.label) for row in rows)
