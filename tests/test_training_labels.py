"""A table that would teach or measure the wrong thing is refused, by row."""

from pathlib import Path

import pytest

from training.labels import LabelsError, check_contents, read_labels

HEADER = "path,label,group,split,region\n"
GOOD = ["a.png,0,g1,train,hand", "b.png,1,g2,train,leg", "c.png,0,g3,val,", "d.png,1,g4,val,hip"]


def table(folder: Path, rows: list[str], header: str = HEADER) -> Path:
    for name in "abcd":
        (folder / f"{name}.png").write_bytes(name.encode())
    path = folder / "labels.csv"
    path.write_text(header + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_rows_as_written(tmp_path: Path) -> None:
    rows = read_labels(table(tmp_path, GOOD), tmp_path)
    assert [(r.row, r.name, r.label, r.group, r.split, r.region) for r in rows] == [
        (2, "a.png", 0, "g1", "train", "hand"),
        (3, "b.png", 1, "g2", "train", "leg"),
        (4, "c.png", 0, "g3", "val", ""),
        (5, "d.png", 1, "g4", "val", "hip"),
    ]
    assert rows[0].path == tmp_path / "a.png"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["e.png,0,g1,train,", *GOOD], r"row 2: no file .*e\.png$"),
        (["a.png,2,g1,train,", *GOOD[1:]], "row 2: label '2' is neither 0 nor 1"),
        (["a.png,,g1,train,", *GOOD[1:]], "row 2: label '' is neither"),
        (["a.png,0,g1,test,", *GOOD[1:]], "row 2: split 'test' is neither train nor val"),
        (["a.png,0,,train,", *GOOD[1:]], "row 2: group is empty"),
        ([",0,g1,train,", *GOOD[1:]], "row 2: path is empty"),
        (["a.png"], "row 2: label None is neither"),
        ([*GOOD, "a.png,1,g1,train,"], r"row 6: a\.png stands in row 2 already, here with another label"),
        ([*GOOD, "a.png,0,g1,train,"], r"row 6: a\.png stands in row 2 already, here again"),
        ([*GOOD[:3], "d.png,1,g2,val,"], "row 5: group 'g2' is in val, but row 3 has it in train"),
        (GOOD[:3], "split val needs images with label 0 and with label 1"),
        ([], "split train needs"),
    ],
)
def test_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(LabelsError, match=message):
        read_labels(table(tmp_path, rows), tmp_path)


def test_many_problems_are_one_short_line(tmp_path: Path) -> None:
    with pytest.raises(LabelsError) as error:
        read_labels(table(tmp_path, ["e.png,0,g,train,"] * 8), tmp_path)
    assert str(error.value).count("no file") == 5
    assert str(error.value).endswith("; and 3 more")
    assert "\n" not in str(error.value)


def test_missing_column_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="column group is missing"):
        read_labels(table(tmp_path, [], header="path,label,split\n"), tmp_path)
    with pytest.raises(LabelsError, match=r"absent\.csv: cannot be read \(No such file or directory\)"):
        read_labels(tmp_path / "absent.csv", tmp_path)


def test_one_image_under_two_names(tmp_path: Path) -> None:
    path = table(tmp_path, GOOD)
    rows = read_labels(path, tmp_path)
    check_contents(path, rows, ["1", "2", "3", "4"])
    with pytest.raises(LabelsError, match=r"row 3: b\.png is the same image as row 2, with another label"):
        check_contents(path, rows, ["1", "1", "3", "4"])
    with pytest.raises(LabelsError, match=r"row 4: c\.png is the same image as row 2, with another split"):
        check_contents(path, rows, ["1", "2", "1", "4"])
