"""Copies count as one picture, other pictures do not, and no near pair is missed."""

import io
from pathlib import Path

import numpy as np
import pytest
from drawing import picture
from PIL import Image

from training.contents import LOOK_SIDE
from training.datasets import fracatlas_subset
from training.look_alikes import MAX_DISTANCE, hash_of, near_pairs


def distance(one_HW: np.ndarray, other_HW: np.ndarray) -> int:
    return int(np.bitwise_count(hash_of(one_HW) ^ hash_of(other_HW)).sum())


def compressed(grey_HW: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(grey_HW).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_near(seed: int) -> None:
    grey_HW = picture(seed, 300, 240)
    half = Image.fromarray(grey_HW).resize((120, 150), Image.Resampling.BILINEAR)
    darker_HW = (255 * (grey_HW / 255.0) ** 1.3).astype(np.uint8)
    assert distance(grey_HW, compressed(grey_HW, 40)) <= MAX_DISTANCE
    assert distance(grey_HW, np.asarray(half)) <= MAX_DISTANCE
    assert distance(grey_HW, darker_HW) <= MAX_DISTANCE


def test_other_pictures_are_far() -> None:
    assert min(distance(picture(0), picture(seed)) for seed in range(1, 20)) > 80
    assert distance(picture(0), 255 - picture(0)) > 240
    assert distance(picture(0), picture(0)[:, ::-1]) > 80


def test_every_near_pair_is_found() -> None:
    """Against all pairs one by one, over several blocks."""
    random = np.random.default_rng(0)
    bits = random.integers(0, 2, (300, 256), np.uint8)
    for copy in range(200, 300):  # copies of 50 to 149, 0 to 40 bits away
        bits[copy] = bits[copy - 150]
        bits[copy, random.permutation(256)[: copy * 7 % 41]] ^= 1
    hash_NW = np.packbits(bits, axis=1).view(np.uint64)
    expected = [
        (one, other, int((bits[one] != bits[other]).sum()))
        for one in range(300)
        for other in range(one + 1, 300)
        if (bits[one] != bits[other]).sum() <= 20
    ]
    assert 30 < len(expected) < 70
    assert sorted(map(tuple, near_pairs(hash_NW).tolist())) == expected
    assert len(near_pairs(hash_NW, max_distance=-1)) == 0
    assert near_pairs(hash_NW[:0]).shape == (0, 3)


def test_real_radiographs_are_told_apart(shared: Path) -> None:
    """Of 200 validation radiographs no two count as one, and each counts as one with its own copies."""
    from batch_fracture import decode
    from batch_fracture.settings import ReadingSettings

    hashes, num_missed = [], 0
    for row in [row for row in fracatlas_subset.read(shared / "radiographs") if row.split == "val"][:200]:
        content = row.path.read_bytes()
        header = decode.read_header(content, ReadingSettings())
        grey_HW = decode.read_grey(content, header, min_long_side=LOOK_SIDE)
        hashes.append(hash_of(grey_HW))
        num_missed += distance(grey_HW, compressed(grey_HW, 50)) > MAX_DISTANCE
    assert near_pairs(np.stack(hashes)).tolist() == []
    assert num_missed <= 2
