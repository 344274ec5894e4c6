"""Two folders of images, named after the label; perhaps below train, val and test.

FOLDER/fractured/ and FOLDER/normal/
FOLDER/train/positive/, FOLDER/train/negative/, FOLDER/val/...
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.datasets.layout import Found, Layout, numbered
from training.labels import LabelledImage
from training.problems import LabelsError

LABELS = {
    1: ("fracture", "fractured", "fractures", "positive", "abnormal", "1"),
    0: (
        *("normal", "negative", "healthy", "0"),
        *("no_fracture", "non_fracture", "not_fracture", "no_fractures"),
        *("non_fractured", "not_fractured", "unfractured"),
    ),
}
"""Names of the folders; capitals do not count, and spaces and hyphens count as underscores."""
SPLITS = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val"},
    **{"test": "test", "testing": "test"},
}


def read(folder: Path) -> list[LabelledImage]:
    """The rows of a folder; each file is a group of its own, unless --group-pattern finds one in its name.

    Every file counts as an image but hidden ones; what is none is refused later, by its row.

    Args:
        folder: holds folders of `LABELS`, or folders of `SPLITS` that hold those.

    Raises:
        LabelsError: there is a folder whose name means nothing, or no image.
    """
    found = list(_found(folder))
    if not found:
        raise LabelsError(f"labels {folder}: no images; they go into folders such as fractured and normal")
    return numbered(folder, found)


def recognised(folder: Path) -> bool:
    """Whether a folder has folders of both labels, at its top or below a split."""
    tops = [folder, *(below for below in _folders(folder) if _plain(below) in SPLITS)]
    return any({_label(below) for below in _folders(top)} >= {0, 1} for top in tops)


def _found(folder: Path) -> Iterator[Found]:
    for top in _folders(folder):
        split = SPLITS.get(_plain(top), "")
        for below in _folders(top) if split else [top]:
            label = _label(below)
            if label is None:
                raise LabelsError(
                    f"labels {below}: the name says no label; known are {', '.join(LABELS[1] + LABELS[0])}"
                )
            for path in sorted(below.rglob("*")):
                name = path.relative_to(folder)
                if path.is_file() and not any(part.startswith(".") for part in name.parts):
                    yield Found(name=name.as_posix(), label=label, group=name.as_posix(), split=split)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _plain(folder: Path) -> str:
    return folder.name.lower().replace(" ", "_").replace("-", "_")


def _label(folder: Path) -> int | None:
    return next((label for label, names in LABELS.items() if _plain(folder) in names), None)


LAYOUT = Layout(
    name="folders",
    marks=(),
    read=read,
    about="A folder for each label. Each file is its own group unless --group-pattern names the patient.",
)
