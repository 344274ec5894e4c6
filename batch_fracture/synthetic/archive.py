"""A hospital's archive in small: studies by date in every format, some broken bones, and some bad files.

FOLDER/archive/2024/MM/DD/ACCESSION/...   pictures
FOLDER/archive/incoming/...               damaged files, and files that are no radiographs
FOLDER/reads.csv                          what the (imaginary) radiologist said
FOLDER/README.txt                         that nothing here shows a person
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from batch_fracture.codes import Code
from batch_fracture.synthetic import files, phantom
from batch_fracture.synthetic.anatomy import REGIONS

NUM_IMAGES = 60
_FRACTURED_SHARE, _MISREAD_SHARE = 0.35, 0.06
_FIRST_DAY = datetime(2024, 1, 8, tzinfo=UTC)
_README = """Every picture in this folder is synthetic: drawn by batch-fracture from geometry and
random numbers. None shows a person, and no name, date or number in it means anyone.

archive/    the image store: pictures in several formats, and some damaged or foreign files
reads.csv   made-up reads of them, some of them wrong on purpose
"""


@dataclass(frozen=True, kw_only=True)
class SyntheticFile:
    """One file of the archive, and what a run has to make of it."""

    path: Path
    kind: str
    """One of `files.KINDS`, or what is odd about it."""
    code: Code | None = None
    """None: it is read."""
    fractured: bool | None = None
    """Whether a fracture was drawn; None where there is nothing to read."""


@dataclass(frozen=True, kw_only=True)
class SyntheticArchive:
    """What `draw_archive` drew."""

    images: Path
    """The folder to run on."""
    reads: Path
    """CSV: image_uri, fracture (0 or 1), read_at."""
    files: tuple[SyntheticFile, ...]

    @property
    def num_by_kind(self) -> dict[str, int]:
        """Files of each kind."""
        return dict(Counter(file.kind for file in self.files))

    @property
    def num_by_outcome(self) -> dict[str, int]:
        """Rows that a run has to give: `read` and each code."""
        return dict(Counter(file.code.value if file.code else "read" for file in self.files))


@dataclass(frozen=True, kw_only=True)
class _Picture:
    name: str
    """Path below the images folder."""
    kind: str
    content: bytes
    fractured: bool
    taken_at: datetime


def draw_archive(folder: Path, *, seed: int = 0, num_images: int = NUM_IMAGES) -> SyntheticArchive:
    """Draw an archive into a folder; the same seed draws the same bytes.

    A file that is there already with the same bytes is left alone: a second run finds it unchanged.

    Args:
        folder: made when it is not there.
        seed: of everything random.
        num_images: readable pictures; seven more files are damaged or no radiographs.
    """
    images = folder / "archive"
    pictures = [picture for picture, _ in zip(_pictures(seed), range(num_images), strict=False)]
    drawn = [_keep(images, picture) for picture in pictures]
    odd = []
    for name, kind, code, content in _odd_files(seed):
        path = images / "incoming" / name
        _write(path, content)
        odd.append(SyntheticFile(path=path, kind=kind, code=code))
    _write(folder / "README.txt", _README.encode())
    reads = folder / "reads.csv"
    _write(reads, _reads(seed, drawn, pictures))
    return SyntheticArchive(images=images, reads=reads, files=(*drawn, *odd))


def _keep(images: Path, picture: _Picture) -> SyntheticFile:
    path = images / picture.name
    _write(path, picture.content)
    return SyntheticFile(path=path, kind=picture.kind, fractured=picture.fractured)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_bytes() != content:
        path.write_bytes(content)


def _pictures(seed: int) -> Iterator[_Picture]:
    """Study after study, each of one format and one or two views."""
    study = 0
    while True:
        rng = np.random.default_rng([seed, study])
        kind = files.KINDS[study % len(files.KINDS)]
        region = REGIONS[int(rng.integers(len(REGIONS)))]
        side = str(rng.choice(["L", "R"]))
        fractured = bool(rng.random() < _FRACTURED_SHARE)
        fracture = phantom.random_fracture(rng, region) if fractured else None
        taken_at = _FIRST_DAY + timedelta(days=1.7 * study, minutes=float(rng.integers(500)))
        study_uid = f"{files.UID_ROOT}.{seed}.{study + 1}"
        tags = {
            "Modality": str(rng.choice(["CR", "DX"])),
            "BodyPartExamined": region.name,
            "ImageLaterality": side,
            "StudyDate": f"{taken_at:%Y%m%d}",
            "StudyInstanceUID": study_uid,
            "SeriesInstanceUID": f"{study_uid}.1",
        }
        num_views = 1 if region.name == "HAND" else int(rng.integers(1, 3))
        for view in range(num_views):
            pose = phantom.random_pose(rng, marker=side, lateral=view == 1)
            shown_HW = phantom.draw(region, pose, fracture, rng, pixels_per_mm=2.5)
            tags["ViewPosition"] = "AP" if view == 0 else f"{side}L"
            tags["SOPInstanceUID"] = f"{study_uid}.1.{view + 1}"
            yield _Picture(
                name=f"{taken_at:%Y/%m/%d}/SYN{study + 1:05d}/IM{view + 1:04d}.{files.suffix(kind)}",
                kind=kind,
                content=files.encode(kind, shown_HW, tags),
                fractured=fractured,
                taken_at=taken_at,
            )
        study += 1


def _odd_files(seed: int) -> list[tuple[str, str, Code, bytes]]:
    """Name, what is odd, the code that its row carries, and the bytes."""
    rng = np.random.default_rng([seed, 0, 1])
    pose = phantom.random_pose(rng, marker="R")
    shown_HW = phantom.draw(REGIONS[0], pose, None, rng, pixels_per_mm=2.0)
    image = files.grey(shown_HW)
    small_HW = shown_HW[::4, ::4]
    uid = f"{files.UID_ROOT}.{seed}.0"
    tags = {
        "Modality": "DX",
        "StudyInstanceUID": uid,
        "SeriesInstanceUID": f"{uid}.1",
        "SOPInstanceUID": f"{uid}.1.1",
    }
    jpeg = files.saved(image, "JPEG", quality=92)
    png = bytearray(files.saved(image, "PNG"))
    png[len(png) // 2 : len(png) // 2 + 64] = bytes(64)
    dimmed = [image.point(lambda level, share=share: round(level * share)) for share in (0.5, 0.75)]
    gif = files.saved(image, "GIF", save_all=True, append_images=dimmed)
    return [
        ("cut_in_transfer.jpg", "truncated", Code.TRUNCATED, jpeg[: len(jpeg) * 6 // 10]),
        ("nothing_arrived.png", "empty", Code.NOT_AN_IMAGE, b""),
        (
            "note_to_self.jpg",
            "text",
            Code.NOT_AN_IMAGE,
            b"The pictures of this study are on the other disk.\n",
        ),
        ("bad_disk_block.png", "corrupt", Code.CORRUPT, bytes(png)),
        ("blinking.gif", "animated", Code.ANIMATED, gif),
        ("cine_loop.dcm", "multi-frame", Code.MULTI_FRAME, files.cine(small_HW, tags)),
        ("slice_of_another_study.dcm", "ct", Code.NOT_A_RADIOGRAPH, files.ct_slice(small_HW, tags)),
    ]


def _reads(seed: int, drawn: list[SyntheticFile], pictures: list[_Picture]) -> bytes:
    """What a radiologist said within a day of each picture; some reads are wrong, for the audit to find."""
    rng = np.random.default_rng([seed, 0, 2])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image_uri", "fracture", "read_at"])
    for file, picture in zip(drawn, pictures, strict=True):
        said = picture.fractured != bool(rng.random() < _MISREAD_SHARE)
        read_at = picture.taken_at + timedelta(minutes=float(rng.integers(20, 1200)))
        uri = os.path.abspath(file.path)  # noqa: PTH100 - as `RunConfig` names sources
        table.writerow([uri, int(said), read_at.isoformat()])
    return text.getvalue().encode()
