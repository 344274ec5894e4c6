"""The recipe of one model: a frozen dataclass for each table of the TOML file, checked once."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch_fracture.errors import ConfigError
from batch_fracture.preprocess import InputSpec

INITIAL_WEIGHTS = ("imagenet", "random")
PRECISIONS = ("fp32", "bf16")


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
    initial_weights: str = "imagenet"
    """`imagenet`, from the Python package that carries them, or `random`."""
    input_size: int = 256
    """Side of the square input, pixels."""
    epochs: int = 16
    """Passes over the training images."""
    batch_size: int = 16
    """Images in one step, over all workers together."""
    learning_rate: float = 3e-4
    """AdamW's peak, after the warm-up; a half cosine leads it to 0."""
    weight_decay: float = 0.05
    """AdamW's, on matrices and kernels only."""
    warmup_epochs: float = 1.0
    """Linear rise of the learning rate."""
    positive_weight: float = 1.0
    """Weight of a fractured image's loss; calibration undoes its effect on probabilities."""
    ema_decay: float = 0.998
    """Per step, of the running average of the weights, which is what is exported."""
    drop_rate: float = 0.2
    """Dropout before the head."""
    drop_path_rate: float = 0.1
    """Stochastic depth."""
    precision: str = "bf16"
    """Of activations in training: `bf16` (autocast, weights stay fp32) or `fp32`. Scores are always fp32."""
    seed: int = 0
    """Of initialisation, order and augmentation."""
    split_seed: int = 0
    """Of the halving of `val`, and of splits that are dealt; recorded in the bundle."""
    val_share: float = 0.3
    """Share of the images that `val` gets where the table has no splits."""
    allow_near_duplicates: bool = False
    """Let pictures that look the same stand in two splits or under two labels; the same file never may."""
    workers: int = 1
    """Ray Train workers; each takes an equal share of this machine's CPUs, or one GPU."""
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    """How training images vary."""

    def __post_init__(self) -> None:
        for field, known in (("initial_weights", INITIAL_WEIGHTS), ("precision", PRECISIONS)):
            if getattr(self, field) not in known:
                raise ConfigError(f"{field} = {getattr(self, field)!r}: known are {', '.join(known)}")
        for field in ("epochs", "batch_size", "workers"):
            if getattr(self, field) < 1:
                raise ConfigError(f"{field} = {getattr(self, field)}: it must be 1 or more")
        if self.batch_size % self.workers:
            raise ConfigError(
                f"batch_size = {self.batch_size} cannot be shared equally by {self.workers} workers"
            )
        for field in ("learning_rate", "positive_weight"):
            if not getattr(self, field) > 0:
                raise ConfigError(f"{field} = {getattr(self, field)}: it must be above 0")
        if not 0 < self.val_share < 1:
            raise ConfigError(f"val_share = {self.val_share}: it must be above 0 and below 1")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay = {self.ema_decay}: it must be at least 0 and below 1")
        try:
            InputSpec(size=self.input_size)
        except ValueError as error:
            raise ConfigError(f"input_size: {error}") from error

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
    table |= {key: value for key, value in overrides.items() if value is not None}
    try:
        config: TrainingConfig = _build(TrainingConfig, table)
    except ConfigError as error:
        raise ConfigError(f"--config {path}: {error}") from error
    return config


_TABLES: dict[str, type] = {"augmentation": Augmentation, "source": Source}
_KINDS: dict[str, tuple[tuple[type, ...], Callable[[Any], Any]]] = {
    "str": ((str,), str),
    "bool": ((bool,), bool),
    "int": ((int,), int),
    "float": ((int, float), float),
    "Path": ((str, Path), Path),
    "tuple[str, ...]": ((list, tuple), tuple),
}
"""Declared type: what TOML may give for it, and how that becomes one."""


def _build(kind: type, table: dict[str, Any], prefix: str = "") -> Any:
    """An instance of the dataclass `kind` from a TOML table, every key known and of its type."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(set(table) - set(fields)):
        raise ConfigError(f"unknown key {prefix}{unknown[0]}; known are {', '.join(sorted(fields))}")
    missing = [
        name
        for name, field in fields.items()
        if name not in table
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{prefix}{missing[0]} is missing")
    return kind(**{name: _value(fields[name], prefix + name, value) for name, value in table.items()})


def _value(field: dataclasses.Field[Any], name: str, value: Any) -> Any:
    """A TOML value as the field's type."""
    if field.name in _TABLES:
        if not isinstance(value, dict):
            raise ConfigError(f"{name} = {value!r}: it must be a table")
        return _build(_TABLES[field.name], value, prefix=f"{name}.")
    accepted, convert = _KINDS[str(field.type)]
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
        raise ConfigError(f"{name} = {value!r}: it must be of type {field.type}")
    return convert(value)
