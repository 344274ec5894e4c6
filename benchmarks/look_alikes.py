"""How far apart the hashes of radiographs are, and of copies: what `look_alikes.MAX_DISTANCE` rests on.

python -m benchmarks.look_alikes [--radiographs FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from batch_fracture import decode
from batch_fracture.settings import ReadingSettings
from training.contents import LOOK_SIDE
from training.datasets import fracatlas_subset
from training.labels import LabelledImage
from training.look_alikes import MAX_DISTANCE, hash_of, near_pairs

Copy = Callable[[Image.Image], Image.Image]
SAMPLE, MANY = 400, 50_000


def jpeg(quality: int) -> Copy:
    """Compressed anew."""

    def copy(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return copy


def scaled(factor: float) -> Copy:
    """Both sides by a factor."""
    return lambda image: image.resize((round(image.width * factor), round(image.height * factor)))


def relit(change: Callable[[float], float]) -> Copy:
    """Grey, from 0 to 1, through a curve."""
    table = [round(255 * min(1.0, max(0.0, change(grey / 255)))) for grey in range(256)]
    return lambda image: image.point(table)


def cropped(share: float) -> Copy:
    """That share cut off each side."""

    def copy(image: Image.Image) -> Image.Image:
        x, y = round(share * image.width), round(share * image.height)
        return image.crop((x, y, image.width - x, image.height - y))

    return copy


COPIES: dict[str, Copy] = {
    "JPEG, quality 50": jpeg(50),
    "JPEG, quality 20": jpeg(20),
    "half the size": scaled(0.5),
    "a quarter of the size": scaled(0.25),
    "gamma 1.3": relit(lambda grey: grey**1.3),
    "contrast 1.3": relit(lambda grey: (grey - 0.5) * 1.3 + 0.5),
    "1 % cut off each side": cropped(0.01),
    "2 % cut off each side": cropped(0.02),
    "turned by 1 degree": lambda image: image.rotate(1, Image.Resampling.BILINEAR),
}


def grey(path: Path) -> Image.Image:
    """An image as the checks look at it."""
    content = path.read_bytes()
    header = decode.read_header(content, ReadingSettings())
    return Image.fromarray(decode.read_grey(content, header, min_long_side=LOOK_SIDE))


def main() -> None:
    """Distances of all pairs, of copies, and the time for many."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--radiographs", type=Path, default=Path("../shared/radiographs"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = fracatlas_subset.read(options.radiographs)
    with ThreadPoolExecutor() as pool:
        hash_NW = np.stack(list(pool.map(lambda row: hash_of(np.asarray(grey(row.path))), rows)))
    near = near_pairs(hash_NW, max_distance=50)
    found: dict[str, object] = {
        "pairs": len(rows) * (len(rows) - 1) // 2,
        "pairs_within": {str(d): int((near[:, 2] <= d).sum()) for d in (20, 24, 28, 32, 36, 40, 44, 48)},
    }
    print(
        f"{len(rows):,} radiographs, {found['pairs']:,} pairs; within so many bits: {found['pairs_within']}"
    )
    across = [d for one, other, d in near.tolist() if rows[one].split != rows[other].split]
    print(f"closest pair across train and val: {min(across, default='more than 50')}")
    found |= copies_of(rows)
    found["seconds_for_50000"] = many(hash_NW)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def copies_of(rows: Sequence[LabelledImage]) -> dict[str, object]:
    """How far copies of some radiographs lie from them."""
    found: dict[str, object] = {}
    random = np.random.default_rng(0)
    originals = [grey(rows[at].path) for at in random.choice(len(rows), SAMPLE, replace=False)]
    for name, copy in COPIES.items():
        distance = [
            int(np.bitwise_count(hash_of(np.asarray(one)) ^ hash_of(np.asarray(copy(one)))).sum())
            for one in originals
        ]
        median, most = (float(np.percentile(distance, percent)) for percent in (50, 99))
        share = float(np.mean(np.array(distance) <= MAX_DISTANCE))
        found[name] = {"median": median, "p99": most, "share_within": share}
        print(f"{name:<24} median {median:>3.0f}, p99 {most:>3.0f}; {share:.1%} within {MAX_DISTANCE}")
    return found


def many(hash_NW: npt.NDArray[np.uint64]) -> float:
    """Seconds for all pairs of as many hashes, drawn around those of the radiographs."""
    random = np.random.default_rng(1)
    many_NW = hash_NW[random.integers(0, len(hash_NW), MANY)] ^ np.packbits(
        random.random((MANY, 256)) < 0.2, axis=1
    ).view(np.uint64)
    started = time.monotonic()
    near_pairs(many_NW)
    seconds = round(time.monotonic() - started, 1)
    print(f"all pairs of {MANY:,} hashes: {seconds} s")
    return seconds


if __name__ == "__main__":
    main()
