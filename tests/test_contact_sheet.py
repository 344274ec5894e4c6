from __future__ import annotations

import json
from pathlib import Path

import drawing
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from batch_fracture import decode, store
from batch_fracture.bundle import DEFAULT, open_bundle
from batch_fracture.cli import cli
from batch_fracture.doctor import contact_sheet
from batch_fracture.doctor.contact_sheet import Sheet, draw_contact_sheet, said, spread
from batch_fracture.errors import ConfigError, SourceError
from batch_fracture.preprocess import read_input
from batch_fracture.settings import ReadingSettings

SETTINGS = ReadingSettings()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    grey_HW = drawing.grey(300, 200)
    (folder / "a.png").write_bytes(drawing.saved(grey_HW, "PNG"))
    (folder / "b.dcm").write_bytes(drawing.dicom(grey_HW, photometric="MONOCHROME1"))
    (folder / "c.dcm").write_bytes(drawing.dicom(grey_HW)[:-1000])
    (folder / "d.dcm").write_bytes(drawing.dicom(grey_HW, Modality="CT"))
    (folder / "e.txt").write_text("no image")
    return folder


def test_tiles_are_what_the_network_sees(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    sheet = draw_contact_sheet(str(archive), path, model=DEFAULT, settings=SETTINGS)
    outcomes = {"read": 2, "NOT_AN_IMAGE": 1, "NOT_A_RADIOGRAPH": 1, "TRUNCATED": 1}
    assert sheet == Sheet(path=str(path), listed=5, looked_at=5, outcomes=outcomes)
    page_HW = np.asarray(Image.open(path).convert("L")).astype(int)
    spec, side = open_bundle(DEFAULT).input, contact_sheet._MAX_SIDE
    top, step = 2 * contact_sheet._LINE + contact_sheet._GAP, side + contact_sheet._GAP
    for number, name in enumerate(("a.png", "b.dcm")):
        content = (archive / name).read_bytes()
        input_SS = read_input(content, decode.read_header(content, SETTINGS), spec)
        tile = Image.fromarray(input_SS).resize((side, side), Image.Resampling.LANCZOS)
        left = contact_sheet._GAP + number * step
        np.testing.assert_array_equal(page_HW[top : top + side, left : left + side], np.asarray(tile))
    failed_HW = page_HW[top : top + side, contact_sheet._GAP + 2 * step :][:, :side]
    assert 0 < (failed_HW > 0).mean() < 0.05  # its code on black


def test_modalities_decide_what_is_drawn(archive: Path, tmp_path: Path) -> None:
    everything = ReadingSettings(modalities=("all",))
    sheet = draw_contact_sheet(str(archive), tmp_path / "s.png", model=DEFAULT, settings=everything)
    assert sheet.outcomes == {"read": 3, "NOT_AN_IMAGE": 1, "TRUNCATED": 1}


def test_a_full_sheet_ends_the_looking(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_sheet, "MAX_TILES", 1)
    sheet = draw_contact_sheet(str(archive), tmp_path / "s.png", model=DEFAULT, settings=SETTINGS)
    assert sheet.listed == 5
    assert sum(sheet.outcomes.get(name, 0) for name in ("read", "TRUNCATED")) == 1


def test_large_archives_are_looked_at_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        (tmp_path / f"{number:03}.png").touch()
    monkeypatch.setattr(contact_sheet, "MAX_LOOKED_AT", 12)
    names = [
        uri.rsplit("/", 1)[1] for uri in spread(store.list_images((str(tmp_path),)))["image_uri"].to_pylist()
    ]
    assert sorted(names) == [f"{number:03}.png" for number in range(0, 100, 9)]
    assert names != sorted(names)


def test_what_cannot_be_drawn(archive: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SourceError, match="there are no images to draw"):
        draw_contact_sheet(str(empty), tmp_path / "s.png", model=DEFAULT, settings=SETTINGS)
    with pytest.raises(ConfigError, match="cannot be written"):
        draw_contact_sheet(str(archive), tmp_path / "none" / "s.png", model=DEFAULT, settings=SETTINGS)


def test_the_command_draws_instead_of_examining(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    flags = ["doctor", "--contact-sheet", str(archive), "--out", str(path), "--modalities", "cr"]
    plain = CliRunner().invoke(cli, flags, standalone_mode=False)
    counts = "5 of 5 files looked at, 2 read, 1 NOT_AN_IMAGE, 1 NOT_A_RADIOGRAPH, 1 TRUNCATED"
    assert (plain.return_value, plain.output) == (0, f"{path}: {counts}\n")
    answer = json.loads(CliRunner().invoke(cli, [*flags, "--json"], standalone_mode=False).output)
    assert said(Sheet(**answer)) == counts


@pytest.mark.parametrize("name", ["a\nb.png", "x" * 200 + ".png", "骨折.png"])
def test_any_name_fits_its_tile(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    (folder / name).write_bytes(drawing.saved(drawing.grey(), "PNG"))
    sheet = draw_contact_sheet(str(folder), tmp_path / "s.png", model=DEFAULT, settings=SETTINGS)
    assert sheet.outcomes == {"read": 1}
