"""The command, on real folders with real files: what it writes, what it refuses, what it leaves out."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from drawing import picture, saved

from training.checking import Wanted, check
from training.labelling import main
from training.labels import read_labels

ROOT = Path(__file__).parents[1]


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def draw(folder: Path, num: int = 24) -> Path:
    """A folder for each label; two images a patient, P00_0.png and P00_1.png; one of three is fractured."""
    for number in range(num):
        patient = number // 2
        below = folder / ("normal" if patient % 3 else "fractured")
        below.mkdir(parents=True, exist_ok=True)
        (below / f"P{patient:02d}_{number % 2}.png").write_bytes(saved(picture(number), "PNG"))
    return folder


def test_a_folder_becomes_a_table_that_training_takes(tmp_path: Path) -> None:
    images, out = draw(tmp_path / "images"), tmp_path / "tables" / "labels.csv"
    done = command(images, "--group-pattern", "(P[0-9]+)_", "--split", "--out", out)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "layout: folders, recognised by its files (--layout names another)",
        "A folder for each label. Each file is its own group unless --group-pattern names the patient.",
        f"wrote {out}: 24 images, 8 with label 1, 12 groups, 0 boxes on 0 images",
        "  train: 18 images, 6 with label 1, 9 groups",
        "  val: 6 images, 2 with label 1, 3 groups",
        *(
            f"warning: split {split} has {num} images with label {label}; "
            "with fewer than 30, figures say little"
            for split, label, num in (("train", 0, 12), ("train", 1, 6), ("val", 0, 4), ("val", 1, 2))
        ),
        f"train on it: python -m training.train --config CONFIG --labels {out} "
        f"--images {images} --out BUNDLE",
    ]
    rows = read_labels(out, images)
    assert len(rows) == 24
    assert {row.group for row in rows} == {f"P{number:02d}" for number in range(12)}
    again = tmp_path / "again.csv"
    command(images, "--layout", "folders", "--group-pattern", "(P[0-9]+)_", "--split", "--out", again)
    assert again.read_bytes() == out.read_bytes()
    origin = json.loads(out.with_name(f"{out.name}.json").read_text())
    assert (origin["layout"], origin["groups_joined"], origin["left_out"]) == ("folders", 0, [])
    assert origin["split"]["dealt"] == {"seed": 0, "val_share": 0.3, "test_share": 0.0}
    assert json.loads(again.with_name("again.csv.json").read_text())["split"] == origin["split"]


def spoil(folder: Path) -> Path:
    """Every kind of bad row, one of each."""
    draw(folder)
    (folder / "fractured" / "P00_0.png").write_text("no picture")
    copied = (folder / "fractured" / "P03_0.png").read_bytes()
    (folder / "normal" / "P90_0.png").write_bytes(copied)
    (folder / "normal" / "P91_0.jpg").write_bytes(saved(picture(12), "JPEG", quality=70))
    (folder / "normal" / "odd.png").write_bytes(saved(picture(99), "PNG"))
    return folder


def test_problems_are_shown_and_nothing_is_written(tmp_path: Path) -> None:
    images, out = spoil(tmp_path / "images"), tmp_path / "labels.csv"
    listed = tmp_path / "problems.txt"
    refused = command(images, "--group-pattern", "(P[0-9]+)_", "--split", "--problems", listed, "--out", out)
    assert refused.exit_code == 2
    assert refused.stderr.splitlines()[-6:] == [
        f"4 problems in {images}:",
        "  row 2: fractured/P00_0.png cannot be read (NOT_AN_IMAGE: the content is text/plain)",
        "  row 26: normal/P90_0.png is the same image as row 4, with another label",
        "  row 27: normal/P91_0.jpg looks the same as row 6 (2 of 256 bits differ), with another label",
        "  row 28: normal/odd.png has no group: --group-pattern '(P[0-9]+)_' is not in it",
        "error: nothing was written; put the rows right, or leave their rows out with --skip-bad",
    ]
    assert not out.exists()
    assert [line.split(":")[0] for line in listed.read_text().splitlines()] == [
        *("row 2", "row 26", "row 27", "row 28")
    ]


def test_bad_rows_are_left_out_when_asked(tmp_path: Path) -> None:
    images, out = spoil(tmp_path / "images"), tmp_path / "labels.parquet"
    done = command(images, "--group-pattern", "(P[0-9]+)_", "--split", "--skip-bad", "--out", out)
    assert done.exit_code == 0, done.output
    assert "4 problems, their rows left out:" in done.stderr
    kept = {row.name for row in read_labels(out, images)}
    gone = {path.relative_to(images).as_posix() for path in images.rglob("*.*")} - kept
    assert gone == {
        *("fractured/P00_0.png", "fractured/P03_0.png", "fractured/P06_0.png"),
        *("normal/P90_0.png", "normal/P91_0.jpg", "normal/odd.png"),
    }
    assert len(json.loads(out.with_name(f"{out.name}.json").read_text())["left_out"]) == 4


def test_look_alikes_of_two_patients_stay_on_one_side(tmp_path: Path) -> None:
    images = draw(tmp_path / "images")
    for patient in range(1, 12, 3):  # the second image of each also stands under another patient
        (images / "normal" / f"Q{patient:02d}_0.jpg").write_bytes(
            saved(picture(2 * patient + 1), "JPEG", quality=70)
        )
    arguments = (images, "--group-pattern", "([PQ][0-9]+)_", "--split", "--out", tmp_path / "labels.csv")
    assert "  4 groups were joined to others with the same picture" in command(*arguments).stdout.splitlines()
    rows = {row.name: row for row in read_labels(tmp_path / "labels.csv", images)}
    for patient in range(1, 12, 3):
        twins = [rows[f"normal/P{patient:02d}_1.png"], rows[f"normal/Q{patient:02d}_0.jpg"]]
        assert {row.group for row in twins} == {f"P{patient:02d}"}
        assert len({row.split for row in twins}) == 1
    assert command(*arguments, "--allow-near-duplicates").exit_code == 0
    assert {row.group for row in read_labels(tmp_path / "labels.csv", images)} >= {"P01", "Q01"}


def table(folder: Path) -> Path:
    """A table with splits, in which one picture stands on both sides, under another name and format."""
    draw(folder / "images")
    path = folder / "labels.csv"
    done = command(folder / "images", "--group-pattern", "(P[0-9]+)_", "--split", "--out", path)
    assert done.exit_code == 0
    rows = read_labels(path, folder / "images")
    val = next(row for row in rows if row.split == "val" and not row.label)
    number = 2 * int(val.group[1:]) + int(val.name[-5])
    (folder / "images" / "twin.jpg").write_bytes(saved(picture(number), "JPEG", quality=70))
    with path.open("a") as file:
        file.write("twin.jpg,0,twin,train\n")
    return path


def test_look_alikes_across_splits_of_a_table(tmp_path: Path) -> None:
    path, out = table(tmp_path), tmp_path / "out.csv"
    arguments = (path, "--images", tmp_path / "images", "--out", out)
    refused = command(*arguments)
    assert refused.exit_code == 2
    assert re.search(
        r"  row 26: twin\.jpg looks the same as row \d+ \(\d+ of 256 bits differ\), with another split\n",
        refused.stderr,
    )
    assert command(*arguments, "--allow-near-duplicates").exit_code == 0
    assert len(read_labels(out, tmp_path / "images")) == 25
    assert command(*arguments, "--skip-bad").exit_code == 0
    assert "twin.jpg" not in {row.name for row in read_labels(out, tmp_path / "images")}
    dealt = command(*arguments, "--split")
    assert dealt.exit_code == 0  # together
    assert dealt.stdout.startswith("splits: dealt anew; those of the source are passed over\n")
    assert len(read_labels(out, tmp_path / "images")) == 25


def test_bad_values_cannot_be_left_out(tmp_path: Path) -> None:
    path = table(tmp_path)
    path.write_text(path.read_text() + "missing.png,7,x,train\n")
    refused = command(path, "--images", tmp_path / "images", "--skip-bad", "--out", tmp_path / "out.csv")
    assert refused.exit_code == 2
    assert "  row 27: label '7' is neither 0 nor 1\n" in refused.stderr
    assert refused.stderr.endswith("error: nothing was written; put the rows right\n")


def test_test_share(tmp_path: Path) -> None:
    images = draw(tmp_path / "images")
    done = command(
        images, "--split", "--val-share", "0.25", "--test-share", "0.25", "--out", tmp_path / "labels.csv"
    )
    assert [line.split(",")[0] for line in done.stdout.splitlines() if line.startswith("  ")] == [
        *("  train: 12 images", "  val: 6 images", "  test: 6 images")
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layout", "table"), "error: --layout table: IMAGES is a folder"),
        (("--images", "."), "error: --images goes with a TABLE; the images of a FOLDER lie below it"),
        (
            ("--layout", "mura"),
            "error: labels IMAGES/train_labeled_studies.csv: cannot be read (No such file ",
        ),
        (("--group-pattern", "P[0-9]"), "error: --group-pattern 'P[0-9]': it has no (group)"),
        (("--out", "labels.json"), "error: --out labels.json: its name must end in .csv or .parquet"),
        (("--group-pattern", "("), "error: --group-pattern '(': missing ), unterminated subpattern"),
        (
            ("--test-share", "0.7"),
            "error: --val-share 0.3 and --test-share 0.7: the first must be above 0, the second 0 or more, "
            "and both together below 1",
        ),
    ],
)
def test_flags_that_do_not_fit(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "images").mkdir()
    refused = command(tmp_path / "images", "--out", tmp_path / "labels.csv", *arguments)
    assert refused.exit_code == 2
    assert message.replace("IMAGES", str(tmp_path / "images")) in refused.stderr
    assert not (tmp_path / "labels.csv").exists()


def test_groups_that_cross_splits_cannot_be_left_out(tmp_path: Path) -> None:
    draw(tmp_path / "images")
    path = tmp_path / "labels.csv"
    command(tmp_path / "images", "--split", "--out", path)
    rows = [replace(row, group="one") for row in read_labels(path, tmp_path / "images")]
    checked = check(rows, [], Wanted(skip_bad=True), lambda looks, _: looks)
    assert not checked.left_out
    assert len(checked.problems) == len({row.row for row in rows if row.split != rows[0].split})


def test_help_holds_runnable_examples_and_is_light() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "training.labels", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "python -m training.labels ../shared/radiographs --out labels.csv" in shown.stdout
    loaded = "import sys, training.labelling; print([m for m in ('torch', 'ray', 'PIL') if m in sys.modules])"
    imported = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert imported.stdout == "[]\n"
