"""Model bundles: a directory whose every file is named, with its sha256, in `bundle.json`.

    model.safetensors  weights, fp16               (torch engine)
    model.xml, .bin    OpenVINO graph, uint8 in    (CPU engine; needs no torch)
    MODEL_CARD.md      figures, training data, limits
    bundle.json        everything else, and the digests

No pickle is ever opened, and nothing is opened before all digests match.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch_fracture.calibration import Calibration
from batch_fracture.errors import BundleError, ConfigError
from batch_fracture.preprocess import InputSpec

DEFAULT = "fracatlas-evidence"
FORMAT = 1
HEADS = ("pooled", "evidence")
"""From features to the logit: pooled over the image, or a logit for each location, pooled by log-sum-exp."""
FILES = ("MODEL_CARD.md", "model.bin", "model.safetensors", "model.xml")
SHIPPED = Path(__file__).parent / "bundles"


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A named threshold on the calibrated probability, with what it was chosen by."""

    name: str
    threshold: float
    sensitivity: float | None = None
    """Measured on the images that the threshold was chosen on."""
    specificity: float | None = None


@dataclass(frozen=True, kw_only=True)
class Member:
    """One of the networks that answer together."""

    architecture: str
    """The timm name."""
    input_size: int
    """Side, pixels, that the input is scaled to for it."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified bundle; the only way to one is `open_bundle`."""

    path: Path
    name: str
    architecture: str
    """The timm name."""
    head: str
    """One of `HEADS`."""
    input: InputSpec
    mean: float
    std: float
    """Grey in [0, 1] is normalised by (x - mean) / std inside the graph and repeated to three channels."""
    mirror: bool
    """Whether answers are the mean over the image and its mirror image."""
    closer: bool
    """Whether answers are the mean over the image and its middle, enlarged."""
    fp32_stride: int
    """Engine `openvino-mixed` computes in fp32 until features have the input's side divided by this."""
    others: tuple[Member, ...]
    """Networks that answer together with the first, which sees inputs as they are; mostly none."""
    calibration: Calibration
    operating_points: dict[str, OperatingPoint]
    default_operating_point: str
    digest: str
    """sha256 (hex) of bundle.json, which names the digest of every other file."""
    manifest: dict[str, Any]
    """bundle.json as read."""

    @property
    def networks(self) -> tuple[Member, ...]:
        """All that answer together."""
        return (Member(architecture=self.architecture, input_size=self.input.size), *self.others)

    @property
    def num_looks(self) -> int:
        """Times that each of them looks at an image, in one batch."""
        return (1 + self.mirror) * (1 + self.closer)

    def check_evidence(self) -> None:
        """Refuse to be asked for an evidence map that no head makes.

        Raises:
            ConfigError: the head is `pooled`.
        """
        if self.head != "evidence":
            raise ConfigError(
                f"bundle {self.name} has a {self.head} head, which makes no evidence map; train one with "
                'head = "evidence"'
            )

    def operating_point(self, wanted: str | None) -> OperatingPoint:
        """The operating point of that name, a bare threshold such as `0.3`, or the default for None.

        Raises:
            ConfigError: neither a name of this bundle nor a number in (0, 1).
        """
        if wanted is None:
            return self.operating_points[self.default_operating_point]
        if wanted in self.operating_points:
            return self.operating_points[wanted]
        try:
            threshold = float(wanted)
        except ValueError:
            threshold = -1.0
        if not 0.0 < threshold < 1.0:
            names = ", ".join(sorted(self.operating_points))
            raise ConfigError(
                f"operating point {wanted!r}: {self.name} has {names}; a number between 0 and 1 works too"
            )
        return OperatingPoint(name=str(threshold), threshold=threshold)


def open_bundle(name_or_path: str) -> Bundle:
    """Find a bundle, check every digest, and read it.

    Args:
        name_or_path: the name of a bundle that ships with the package, or a directory.

    Raises:
        BundleError: it is missing, incomplete, altered or malformed.
    """
    path = _find(name_or_path)
    try:
        text = (path / "bundle.json").read_bytes()
        manifest = json.loads(text)
        digests = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"bundle {path}: bundle.json cannot be read ({_reason(error)}); export the bundle again"
        ) from error
    _verify(path, digests)
    try:
        return _read(path, manifest, hashlib.sha256(text).hexdigest())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"bundle {path}: bundle.json is malformed ({_reason(error)}); export the bundle again"
        ) from error


def sha256_of(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shipped_names() -> list[str]:
    """Names of the bundles inside the package."""
    return sorted(p.parent.name for p in SHIPPED.glob("*/bundle.json"))


def _find(name_or_path: str) -> Path:
    for path in (Path(name_or_path), SHIPPED / name_or_path):
        if (path / "bundle.json").is_file():
            return path.absolute()
    if Path(name_or_path).is_dir():
        raise BundleError(f"bundle {name_or_path}: the directory has no bundle.json, so it is no bundle")
    raise BundleError(
        f"no bundle {name_or_path!r}: shipped with this package: {', '.join(shipped_names()) or 'none'}; "
        "a path to a bundle directory works too"
    )


def _verify(path: Path, digests: dict[str, str]) -> None:
    present = {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()} - {"bundle.json"}
    if missing := sorted({*digests, *FILES} - present):
        raise BundleError(f"bundle {path}: {', '.join(missing)} is missing; copy or export the bundle again")
    if foreign := sorted(present - set(digests)):
        raise BundleError(f"bundle {path}: {', '.join(foreign)} is not named in bundle.json; remove it")
    for name, digest in sorted(digests.items()):
        if sha256_of(path / name) != digest:
            raise BundleError(
                f"bundle {path}: {name} does not match its sha256 in bundle.json, so it was altered or "
                "damaged; copy or export the bundle again"
            )


def _read(path: Path, manifest: dict[str, Any], digest: str) -> Bundle:
    if manifest["format"] != FORMAT:
        raise ValueError(f"format {manifest['format']}, this version reads {FORMAT}")
    points = {
        name: OperatingPoint(name=name, **point) for name, point in manifest["operating_points"].items()
    }
    head = manifest.get("head", "pooled")  # the field is younger than the first bundles
    if head not in HEADS:
        raise ValueError(f"head {head!r}, this version knows {', '.join(HEADS)}")
    default = manifest["default_operating_point"]
    if default not in points:
        raise ValueError(f"default operating point {default!r} is not among {sorted(points)}")
    _check_engines(manifest.get("evaluation", {}).get("engines"))
    return Bundle(
        path=path,
        name=manifest["name"],
        architecture=manifest["architecture"],
        head=head,
        input=InputSpec(**manifest["input"]),
        mean=manifest["normalisation"]["mean"],
        std=manifest["normalisation"]["std"],
        mirror=bool(manifest.get("mirror", False)),
        closer=bool(manifest.get("closer", False)),
        fp32_stride=int(manifest.get("fp32_stride", 2)),
        others=tuple(Member(**other) for other in manifest.get("others", ())),
        calibration=Calibration(**manifest["calibration"]),
        operating_points=points,
        default_operating_point=default,
        digest=digest,
        manifest=manifest,
    )


def _check_engines(record: dict[str, Any] | None) -> None:
    """What other engines do to answers, by which runs choose; None where nobody measured it."""
    if record is None:
        return
    images = record["images"]
    for name, found in record["others"].items():
        changed = found["labels_changed"]
        if not 0 <= changed <= images or not math.isfinite(found.get("auroc_change", 0.0)):
            raise ValueError(f"engine {name} changed {changed} of {images} labels")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
