"""A rehearsal tells in seconds what would go wrong after hours."""

from pathlib import Path

import pytest
from recipes import recipe
from training_site import draw_images

from batch_fracture.errors import ConfigError
from training import dry_run
from training.labels import read_labels
from training.problems import LabelsError
from training.split import Parts, parts_of


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return parts_of(read_labels(draw_images(tmp_path), tmp_path), seed=0)


def test_what_it_will_take(parts: Parts) -> None:
    images, step, memory, verdict = dry_run.rehearse(recipe(head="evidence", accumulation=2), parts)
    assert images.startswith("images: 64, 0.00 GiB decoded, ")
    assert step.startswith("one step: ")
    assert "16 epochs in about " in step
    assert memory.startswith("memory: about ")
    assert verdict.endswith("nothing was trained or written")


def test_too_little_memory_is_refused(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run._Capacity, "__init__", lambda self: self.__dict__.update(
        gpu=False, name="the CPU", free=1000, used=0))  # fmt: skip
    with pytest.raises(ConfigError, match=r"memory: .* free on the CPU: too much; a smaller batch_size"):
        dry_run.rehearse(recipe(), parts)


def test_an_image_that_cannot_be_read_is_found(parts: Parts) -> None:
    parts.train[0].path.write_bytes(b"no image")
    with pytest.raises(LabelsError, match=r"row 2: 0\.png cannot be read"):
        dry_run.rehearse(recipe(), parts)


def test_too_few_images(parts: Parts) -> None:
    with pytest.raises(ConfigError, match="batch_size = 40: there are only 32 training images"):
        dry_run.rehearse(recipe(batch_size=40), parts)
