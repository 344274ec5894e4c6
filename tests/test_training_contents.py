"""One picture in rows that contradict each other is found, whatever its file; buckets are read like disks."""

from pathlib import Path

import pytest
from drawing import picture, saved

from batch_fracture.store.bucket import Access, s3_client
from training.contents import Alike, alike, content_problems, each, joined, look
from training.labels import LabelledImage
from training.problems import Problem


def row(number: int, name: str, label: int = 0, split: str = "train", folder: Path = Path()) -> LabelledImage:
    return LabelledImage(
        row=number, name=name, path=folder / name, label=label, group=f"g{number}", split=split, region=""
    )


@pytest.fixture
def rows(tmp_path: Path) -> list[LabelledImage]:
    """a twice with the same bytes, b twice in two formats, c once."""
    one, other, third = (picture(seed) for seed in range(3))
    contents = {
        "a.png": saved(one, "PNG"),
        "b.png": saved(other, "PNG"),
        "copy of a.png": saved(one, "PNG"),
        "b.jpg": saved(other, "JPEG", quality=60),
        "c.png": saved(third, "PNG"),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    labels, splits = (0, 0, 1, 0, 0), ("train", "val", "train", "train", "train")
    return [
        row(number, name, label, split, tmp_path)
        for number, (name, label, split) in enumerate(zip(contents, labels, splits, strict=True), start=2)
    ]


def test_one_picture_in_two_rows(rows: list[LabelledImage]) -> None:
    looks = list(each(rows, look))
    pairs = alike(looks)
    assert [(pair.one, pair.other, pair.is_same_file) for pair in pairs] == [(0, 2, True), (1, 3, False)]
    assert pairs[1].distance <= 8
    assert alike(looks, near_duplicates=False) == pairs[:1]
    assert content_problems(rows, pairs) == [
        Problem(text="row 4: copy of a.png is the same image as row 2, with another label", leave_out=(2, 4)),
        Problem(
            text=f"row 5: b.jpg looks the same as row 3 ({pairs[1].distance} of 256 bits differ), "
            "with another split",
            leave_out=(5,),  # the one of train: val is smaller
        ),
    ]
    assert alike([]) == []


def test_groups_that_share_a_picture_become_one() -> None:
    rows = [row(number, f"{number}.png") for number in range(5)] + [row(5, "5.png", split="val")]
    pairs = [
        Alike(one=3, other=4, distance=9, is_same_file=False),
        Alike(one=1, other=3, distance=9, is_same_file=False),
        Alike(one=0, other=5, distance=9, is_same_file=False),
    ]
    assert [one.group for one in joined(rows, pairs)] == ["g0", "g1", "g2", "g1", "g1", "g5"]


def test_what_cannot_be_read_is_a_problem_of_its_row(rows: list[LabelledImage]) -> None:
    rows[0].path.unlink()
    rows[1].path.write_text("no picture")
    rows[2].path.write_bytes(rows[2].path.read_bytes()[:-20])
    found = list(each(rows, look))
    assert found[:3] == [
        Problem(text="row 2: a.png cannot be read (GONE: No such file or directory)", leave_out=(2,)),
        Problem(text="row 3: b.png cannot be read (NOT_AN_IMAGE: the content is text/plain)", leave_out=(3,)),
        Problem(
            text="row 4: copy of a.png cannot be read (TRUNCATED: the PNG has no end chunk)",
            leave_out=(4,),
        ),
    ]
    assert [one.sha256 for one in found[3:]] == [look(row).sha256 for row in rows[3:]]


def test_images_in_buckets(bucket: str, rows: list[LabelledImage]) -> None:
    s3_client(Access()).put_object(Bucket=bucket, Key="deep/a.png", Body=rows[0].path.read_bytes())
    there, gone = row(2, f"s3://{bucket}/deep/a.png"), row(3, f"s3://{bucket}/deep/b.png")
    found = list(each([there, gone], look))
    assert found[0].sha256 == look(rows[0]).sha256
    assert found[1] == Problem(
        text=f"row 3: s3://{bucket}/deep/b.png cannot be read (GONE: the store does not give it)",
        leave_out=(3,),
    )
