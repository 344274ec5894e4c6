"""The recipe of one model: a frozen dataclass for each table of the TOML file, checked once."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch_fracture.bundle import HEADS
from batch_fracture.errors import ConfigError
from batch_fracture.preprocess import InputSpec
from training.tables import build

INITIAL_WEIGHTS = ("imagenet", "random")
PRECISIONS = ("fp32", "bf16")
BALANCES = ("positive_weight", "sampler")
BATCHNORMS = ("live", "frozen", "adapted")
CHOICES = ("best", "last")
STRIDES = (2, 4, 8)
_LEAST = {
    1: ("epochs", "batch_size", "accumulation", "workers", "keep_checkpoints", "score_every"),
    0: ("frozen_stages", "max_failures", "box_weight", "auxiliary_weight", "mixup"),
}
"""Smallest value: the fields that it holds for."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far a training image may be moved and relit; each image of a batch draws its own values."""

    flip: float = 0.5
    """Probability of a left-right flip: laterality says nothing about a fracture."""
    rotation_degrees: float = 15.0
    """Largest rotation, either way."""
    scale: float = 0.15
    """Largest relative change of size, either way."""
    translation: float = 0.06
    """Largest shift, as a fraction of the side, either way and along both axes."""
    brightness: float = 0.1
    """Largest shift of grey, as a fraction of full scale, either way."""
    contrast: float = 0.2
    """Largest relative change of contrast about the image's mean, either way."""
    gamma: float = 0.25
    """Largest change of the logarithm of the exponent, either way: windows differ between consoles."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the card says of the images."""

    name: str
    """The data set's name."""
    licence: str
    """Its licence, as its authors state it."""
    citation: str
    """Whom to cite, and where."""
    limits: tuple[str, ...] = ()
    """Sentences on what the images cannot show."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything that decides which model comes out."""

    name: str
    """The bundle's name."""
    labels: Path
    """CSV or Parquet with the columns image_uri, label, group and, when known, split, region and boxes."""
    images: Path
    """The folder that relative image_uris start from."""
    out: Path
    """The bundle directory to write; it must not exist yet."""
    source: Source
    """What the card says of the images."""
    architecture: str = "tf_efficientnet_lite0"
    """The timm name."""
    head: str = "pooled"
    """`pooled`: one logit from features averaged over the image. `evidence`: a logit for each location,
    pooled by log-sum-exp; boxes teach it where fractures are, and engines can be asked for the map."""
    initial_weights: str = "imagenet"
    """`imagenet`, from the Python package that carries them, or `random`."""
    mirror: bool = False
    """Scores are the mean over the image and its mirror image, in the bundle too: twice the work. Training is
    the same."""
    closer: bool = False
    """Scores are the mean over the image and its middle, enlarged, in the bundle too: twice the work.
    Training is the same."""
    fp32_stride: int = 2
    """Engine `openvino-mixed` computes in fp32 until features have the input's side divided by this."""
    input_size: int = 256
    """Side of the square input, pixels."""
    epochs: int = 16
    """Passes over the training images."""
    batch_size: int = 16
    """Images in one step, over all workers together."""
    accumulation: int = 1
    """Pieces that each worker's share of a step is cut into; more of them need less memory."""
    learning_rate: float = 3e-4
    """AdamW's peak, after the warm-up; a half cosine leads it to 0."""
    weight_decay: float = 0.05
    """AdamW's, on matrices and kernels only."""
    warmup_epochs: float = 1.0
    """Linear rise of the learning rate."""
    layer_decay: float = 1.0
    """Each layer's learning rate by that of the layer after it; 1 trains all alike, 0.8 keeps early ones."""
    frozen_stages: int = 0
    """Early stages of the timm network, the stem first, that stay as they start and cost no gradient."""
    batchnorm: str = "live"
    """Where BatchNorm's statistics come from. `live`: each batch. `frozen`: the initial weights, so that
    small batches spoil none and workers cannot differ. `adapted`: the timm network's are taken from some
    training images before the first step, and kept; an evidence head's are live."""
    balance: str = "positive_weight"
    """What makes up for rare fractures: `positive_weight`, or `sampler`, which draws as many images of either
    label in each epoch."""
    positive_weight: float = 1.0
    """Weight of a fractured image's loss; calibration undoes its effect on probabilities."""
    box_weight: float = 20.0
    """Weight of the evidence head's loss against boxes, beside the image loss; normal images are empty."""
    auxiliary_weight: float = 0.3
    """Weight of the loss of a plain pooled head beside the evidence head; it is there in training only."""
    mixup: float = 0.0
    """Images are blended with others by shares from Beta(mixup, mixup); 0 blends none."""
    choose_epoch: str = "best"
    """`best`: the epoch with the highest AUROC on the images that calibrate. `last`: nothing is chosen."""
    score_every: int = 1
    """Epochs from one AUROC to the next; the last epoch always has one."""
    ema_decay: float = 0.998
    """Per step, of the running average of the weights, which is what is exported."""
    drop_rate: float = 0.2
    """Dropout before the head."""
    drop_path_rate: float = 0.1
    """Stochastic depth."""
    soup: tuple[dict[str, Any], ...] = ()
    """Further trainings, each with its own values of some keys (`soup.MAY_DIFFER`): the model has the mean of
    all their weights."""
    ensemble: tuple[dict[str, Any], ...] = ()
    """Further networks, each with its own values of some keys (`ensemble.MAY_DIFFER`): the model answers
    with the mean of all."""
    precision: str = "bf16"
    """Of activations in training: `bf16` (autocast, weights stay fp32) or `fp32`. Scores are always fp32."""
    seed: int = 0
    """Of order, augmentation and dropout. Weights that are not pretrained start the same for every seed, so
    that trainings of a soup can be averaged."""
    split_seed: int = 0
    """Of the halving of `val`, and of splits that are dealt; recorded in the bundle."""
    val_share: float = 0.3
    """Share of the images that `val` gets where the table has no splits."""
    allow_near_duplicates: bool = False
    """Let pictures that look the same stand in two splits or under two labels; the same file never may."""
    workers: int = 1
    """Ray Train workers; each takes an equal share of this machine's CPUs, or one GPU."""
    keep_checkpoints: int = 2
    """So many of the newest checkpoints stay in storage."""
    max_failures: int = 3
    """So often the workers are started again, from the newest checkpoint, after one of them died."""
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    """How training images vary."""

    def __post_init__(self) -> None:
        known: dict[str, tuple[Any, ...]] = {
            "initial_weights": INITIAL_WEIGHTS,
            "precision": PRECISIONS,
            "head": HEADS,
            "balance": BALANCES,
            "batchnorm": BATCHNORMS,
            "choose_epoch": CHOICES,
            "fp32_stride": STRIDES,
        }
        for field, values in known.items():
            if getattr(self, field) not in values:
                raise ConfigError(
                    f"{field} = {getattr(self, field)!r}: known are {', '.join(map(str, values))}"
                )
        for least, fields in _LEAST.items():
            for field in fields:
                if getattr(self, field) < least:
                    raise ConfigError(f"{field} = {getattr(self, field)}: it must be {least} or more")
        for field in ("learning_rate", "positive_weight"):
            if not getattr(self, field) > 0:
                raise ConfigError(f"{field} = {getattr(self, field)}: it must be above 0")
        if not 0 < self.val_share < 1:
            raise ConfigError(f"val_share = {self.val_share}: it must be above 0 and below 1")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay = {self.ema_decay}: it must be at least 0 and below 1")
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"layer_decay = {self.layer_decay}: it must be above 0 and at most 1")
        self._check_together()
        try:
            InputSpec(size=self.input_size)
        except ValueError as error:
            raise ConfigError(f"input_size: {error}") from error

    def _check_together(self) -> None:
        if self.batch_size % (self.workers * self.accumulation):
            pieces = f" in {self.accumulation} pieces each" if self.accumulation > 1 else ""
            raise ConfigError(
                f"batch_size = {self.batch_size} cannot be shared equally by {self.workers} workers{pieces}"
            )
        if self.balance == "sampler" and self.positive_weight != 1:
            raise ConfigError(
                f'positive_weight = {self.positive_weight} with balance = "sampler" would make up for rare '
                "fractures twice; leave one of them"
            )

    @property
    def input(self) -> InputSpec:
        """What the model is trained on, and what runs will feed it."""
        return InputSpec(size=self.input_size)


def read_config(path: Path, **overrides: Any) -> TrainingConfig:
    """Read a TOML file; what the command line gives (and is not None) wins.

    Args:
        path: the TOML file; its paths start from the working directory, as they do on the command line.
        overrides: fields of `TrainingConfig`.

    Raises:
        ConfigError: the file is missing or no TOML, a key is unknown or missing, or a value is not valid.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"--config {path}: not TOML: {error}") from error
    given = {key: value for key, value in overrides.items() if value is not None}
    table |= given
    for tables in ("soup", "ensemble"):
        if given and tables in table:
            table[tables] = [{key: part[key] for key in part if key not in given} for part in table[tables]]
    try:
        return config_from(table)
    except ConfigError as error:
        raise ConfigError(f"--config {path}: {error}") from error


def config_from(table: dict[str, Any]) -> TrainingConfig:
    """The recipe that a table says, as TOML or a checkpoint's JSON has it.

    Raises:
        ConfigError: a key is unknown or missing, or a value is not valid.
    """
    config: TrainingConfig = build(TrainingConfig, table, tables=_TABLES)
    return config


_TABLES: dict[str, type] = {"augmentation": Augmentation, "source": Source}
