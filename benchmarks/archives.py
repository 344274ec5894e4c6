"""Archives that speed is measured on: drawn once, seeded, kept in a cache; and the bundle that reads them.

A few hundred different pictures are drawn; files beyond that repeat their pixels, each with a comment of its
own, so that no two files are equal.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from batch_fracture.synthetic.files import saved
from benchmarks import dicom_files

CACHE = Path("/tmp/bf-bench-images")  # noqa: S108 - a fixed name, so that it is found again
SMALL, LARGE = (512, 406), (2500, 2048)
"""Rows and columns."""
_QUALITY = {SMALL: 82, LARGE: 80}
_DIFFERENT = {SMALL: 240, LARGE: 36}
_NOISE = 3.0
_SEED = 0
MIXED = ("JPEG lossless, first order", "JPEG 2000 lossless")


def jpegs(size: tuple[int, int], count: int) -> Path:
    """A folder of so many JPEGs of that size."""
    folder = CACHE / f"jpeg-{size[0]}x{size[1]}-{count}"
    return _once(folder, lambda draft: _write_jpegs(draft, size, count))


def mixed(count: int) -> dict[str, Path]:
    """Folders of so many files each: two kinds of DICOM, 16-bit PNG, JPEG; all of 2500 x 2048 pixels."""
    found = {
        "jpeg": jpegs(LARGE, count),
        "png": _once(CACHE / f"png-{count}", lambda at: _write_pngs(at, count)),
    }
    for syntax in dicom_files.SYNTAXES:
        if syntax.name in MIXED:
            found[syntax.name] = _once(
                CACHE / f"{syntax.uid}-{count}", lambda at, syntax=syntax: _write_dicom(at, syntax, count)
            )
    return found


def bundle(input_size: int) -> Path:
    """The weights of `fracatlas-lite0` with a graph for another input: its speed counts, not its answers."""
    return _once(CACHE / f"lite0-{input_size}", lambda draft: _write_bundle(draft, input_size))


def _once(folder: Path, write: Callable[[Path], None]) -> Path:
    """The folder, written where it is not there whole."""
    if not folder.exists():
        draft = folder.with_name(f".{folder.name}-draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        write(draft)
        draft.rename(folder)
    return folder


def _write_jpegs(folder: Path, size: tuple[int, int], count: int) -> None:
    contents = [
        saved(Image.fromarray(picture_HW), "JPEG", quality=_QUALITY[size])
        for picture_HW in _pictures(size, min(count, _DIFFERENT[size]))
    ]
    for number in range(count):
        part = folder / f"{number // 1000:03d}"
        part.mkdir(exist_ok=True)
        (part / f"{number:06d}.jpg").write_bytes(_with_comment(contents[number % len(contents)], number))


def _pictures(size: tuple[int, int], count: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Different crops of the drawn radiographs, with noise of their own."""
    whole = [(picture_HW / 16).astype(np.float32) for picture_HW in dicom_files.pictures(_drawings())]
    random = np.random.default_rng(_SEED)
    for number in range(count):
        picture_HW = whole[number % len(whole)][:, :: random.choice((1, -1))]
        top, left = (random.integers(0, side // 10) for side in picture_HW.shape)
        image = Image.fromarray(picture_HW[top:, left:]).resize(size[::-1], Image.Resampling.BILINEAR)
        noisy_HW = np.asarray(image) + random.normal(0, _NOISE, size)
        yield np.clip(noisy_HW, 0, 255).astype(np.uint8)


def _drawings() -> Path:
    folder = CACHE / "drawings"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _with_comment(content: bytes, number: int) -> bytes:
    """A COM segment behind the start marker (ISO/IEC 10918-1, B.2.4.5)."""
    comment = f"{number:08d}".encode()
    return content[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + content[2:]


def _write_pngs(folder: Path, count: int) -> None:
    for number, picture_HW in enumerate(_repeated(count)):
        Image.fromarray((picture_HW * 16).astype(np.uint16)).save(
            folder / f"{number:04d}.png", compress_level=1
        )


def _write_dicom(folder: Path, syntax: dicom_files.Syntax, count: int) -> None:
    sources = dicom_files.drawn(_drawings(), syntax)
    for number in range(count):
        shutil.copy(sources[number % len(sources)], folder / f"{number:04d}.dcm")


def _repeated(count: int) -> Iterator[npt.NDArray[np.uint16]]:
    whole = list(dicom_files.pictures(_drawings()))
    for number in range(count):
        yield whole[number % len(whole)]


def _write_bundle(folder: Path, input_size: int) -> None:
    from batch_fracture.bundle import FILES, open_bundle, sha256_of  # noqa: PLC0415 - as below
    from batch_fracture.engines.network import network_of  # noqa: PLC0415 - torch takes seconds to import
    from training.export import write_weights  # noqa: PLC0415 - as above

    shipped = open_bundle("fracatlas-lite0")
    write_weights(network_of(shipped), folder, input_size=input_size)
    (folder / "MODEL_CARD.md").write_text(
        "For benchmarks: the graph has another input than it was trained on.\n"
    )
    manifest: dict[str, Any] = {**shipped.manifest, "name": f"lite0-{input_size}", "evaluation": {}}
    manifest["input"] = {**manifest["input"], "size": input_size}
    manifest["files"] = {name: sha256_of(folder / name) for name in FILES}
    (folder / "bundle.json").write_text(json.dumps(manifest))
