"""The images of a recipe dealt into folds by group, for cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from training.config import TrainingConfig
from training.labels import LabelledImage, read_labels
from training.split import Parts, folds, parts_of
from training.train import STORAGE

if TYPE_CHECKING:
    from training.inputs import Examples


@dataclass(frozen=True, kw_only=True)
class Folds:
    """A recipe's images, dealt and read; folds are counted from 0."""

    config: TrainingConfig
    storage: str
    """Where checkpoints are kept, one folder for each fold."""
    dealt: list[list[LabelledImage]]
    parts: list[Examples]
    """The images of each fold."""

    def at(self, network: TrainingConfig) -> list[Examples]:
        """The images of each fold as one network of an ensemble sees them."""
        if network.input == self.config.input:
            return self.parts
        return _read(network, self.storage, self.dealt)

    def named(self, fold: int) -> TrainingConfig:
        """The recipe of one fold's training."""
        return replace(self.config, name=f"{self.config.name}-fold-{fold + 1}-of-{len(self.parts)}")


def read_folds(config: TrainingConfig, storage: str, *, num_folds: int) -> Folds:
    """Deal the images of a recipe and read them.

    Args:
        config: the recipe; `split_seed` deals the folds.
        storage: where checkpoints are kept.
        num_folds: 3 or more.

    Raises:
        LabelsError: the table or an image cannot be used, or look-alikes stand in different folds.
    """
    dealt = deal(read_labels(config.labels, config.images), num_folds=num_folds, seed=config.split_seed)
    return Folds(config=config, storage=storage, dealt=dealt, parts=_read(config, storage, dealt))


def _read(config: TrainingConfig, storage: str, dealt: Sequence[Sequence[LabelledImage]]) -> list[Examples]:
    from training.decoded import read_cached  # noqa: PLC0415 - torch and ray take seconds to import

    examples = read_cached(
        config.labels,
        [row for fold in dealt for row in fold],
        config.input,
        Path(STORAGE if "://" in storage else storage) / "decoded",
        allow_near_duplicates=config.allow_near_duplicates,
    )
    return [examples.only(fold) for fold in dealt]


def deal(rows: Sequence[LabelledImage], *, num_folds: int, seed: int) -> list[list[LabelledImage]]:
    """The folds, each row's split named after its fold, so that look-alikes in two folds are refused."""
    return [
        [replace(row, split=f"fold {number}") for row in fold]
        for number, fold in enumerate(folds(rows, num_folds=num_folds, seed=seed), start=1)
    ]


def parts_with_fold(dealt: Sequence[Sequence[LabelledImage]], fold: int, *, seed: int) -> Parts:
    """One fold as `val`, halved, and all others as `train`.

    Args:
        dealt: of `deal`.
        fold: counted from 0.
        seed: of the halving.
    """
    rows = [
        replace(row, split="val" if number == fold else "train")
        for number, of_fold in enumerate(dealt)
        for row in of_fold
    ]
    return parts_of(rows, seed=seed)
