"""The configuration of `batch-fracture run`, checked once."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from batch_fracture import bundle
from batch_fracture.deadline import stop_at
from batch_fracture.errors import ConfigError
from batch_fracture.privacy import PseudonymKey
from batch_fracture.results.manifest import Purpose
from batch_fracture.settings import RADIOGRAPH_MODALITIES, ReadingSettings
from batch_fracture.store import Access
from batch_fracture.store.sources import lies_inside, outermost

LIMITS = ("max_pixels", "max_bytes", "max_inflation", "time_limit_s", "memory_limit_bytes")
"""What one image may cost: flags of `run` and fields of `ReadingSettings` alike."""
_CHOICES = {"order": ("newest", "oldest", "listed"), "log_format": ("rich", "plain", "json", None)}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One field per flag of `batch-fracture run`; the TOML file has the same names."""

    source: tuple[str, ...]
    """Folders or files to read."""
    results: str
    """Where the tables live."""
    model: str = bundle.DEFAULT
    """Name of a shipped bundle, or a bundle's directory."""
    operating_point: str | None = None
    """A name of the bundle, or a threshold; None for the bundle's default."""
    engine: str | None = None
    """None chooses by hardware."""
    address: str = "local"
    """Ray cluster."""
    modalities: tuple[str, ...] = RADIOGRAPH_MODALITIES
    """DICOM modalities to read, or `all`."""
    max_pixels: int = ReadingSettings.max_pixels
    """This and the next four: limits of one image; see `ReadingSettings`."""
    max_bytes: int = ReadingSettings.max_bytes
    max_inflation: int = ReadingSettings.max_inflation
    time_limit_s: float = ReadingSettings.time_limit_s
    memory_limit_bytes: int = ReadingSettings.memory_limit_bytes
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    order: str = "newest"
    limit: int | None = None
    """Images read in this run at the most."""
    deadline: str | None = None
    """HH:MM of this machine's clock, the next one to come: no work is begun after it."""
    max_runtime: str | None = None
    """Such as `6h` or `90m`: likewise."""
    s3_endpoint: str | None = None
    """Of an S3 server that is not AWS; None for what the environment says."""
    pseudonym_key_file: str | None = None
    """Key of the pseudonyms that stand for names and UIDs; None leaves them as they are."""
    reread: bool = False
    retry_failed: bool = False
    dry_run: bool = False
    max_failed: float = 0.05
    """Share of failed rows above which the run exits with 3."""
    log_format: str | None = None
    """None: rich on a terminal, plain elsewhere."""
    explain: bool = False
    """Say where the time went."""
    json: bool = False
    settings: ReadingSettings = field(init=False)

    def __post_init__(self) -> None:
        if not self.source:
            raise ConfigError("no SOURCE: name at least one folder, or `source` in the configuration file")
        if not self.results:
            raise ConfigError("no --results: name the folder that takes the tables")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                flag, names = name.replace("_", "-"), ", ".join(filter(None, known))
                raise ConfigError(f"--{flag} {getattr(self, name)!r} is unknown; known are {names}")
        if self.limit is not None and (self.reread or self.retry_failed):
            raise ConfigError(
                "--limit with --reread or --retry-failed would take the same images again every night; "
                "leave one out, or name a smaller SOURCE"
            )
        modalities = tuple(m.upper() if m.lower() != "all" else "all" for m in self.modalities if m)
        if not modalities:
            raise ConfigError("--modalities is empty: name some, such as CR,DX,RG, or all")
        for name in LIMITS:
            if not 0 < getattr(self, name) < math.inf:
                flag = name.replace("_", "-")
                raise ConfigError(f"--{flag} {getattr(self, name)!r}: name a number above 0")
        if self.deadline and self.max_runtime:
            raise ConfigError("--deadline and --max-runtime are two ways to say one thing; leave one out")
        stop_at(self.deadline, self.max_runtime)
        object.__setattr__(self, "source", outermost(self.source))
        limits = {name: getattr(self, name) for name in LIMITS}
        object.__setattr__(self, "settings", ReadingSettings(modalities=modalities, **limits))
        self._refuse_results_inside_source()

    @property
    def access(self) -> Access:
        """How buckets are reached."""
        return Access(s3_endpoint=self.s3_endpoint)

    def purpose(self, model: bundle.Bundle, key: PseudonymKey | None = None) -> Purpose:
        """What this run is for, as its manifest records it.

        Args:
            model: the bundle.
            key: of the pseudonyms, when they are wanted.

        Raises:
            ConfigError: the bundle has no such operating point.
        """
        point = model.operating_point(self.operating_point)
        return Purpose(
            sources=self.source,
            s3_endpoint=self.s3_endpoint,
            include=self.include,
            exclude=self.exclude,
            model=model.name,
            model_digest=model.digest,
            engine=self.engine or "auto",
            operating_point=point.name,
            threshold=point.threshold,
            settings=asdict(self.settings),
            settings_digest=self.settings.digest,
            order=self.order,
            limit=self.limit,
            reread=self.reread,
            retry_failed=self.retry_failed,
            pseudonym_key_id=key.key_id if key else None,
            shown_sources=tuple(key.hide(self.source)) if key else self.source,
        )

    def _refuse_results_inside_source(self) -> None:
        for source in self.source:
            if lies_inside(self.results, source):
                raise ConfigError(
                    f"--results {self.results!r} lies inside the source {source!r}, so the next run would "
                    "read its own tables; put it elsewhere"
                )


_TEXTS = frozenset(
    {
        *("results", "model", "engine", "address", "order", "log_format"),
        *("deadline", "max_runtime", "s3_endpoint", "pseudonym_key_file"),
    }
)
_LISTS = frozenset({"source", "include", "exclude", "modalities"})
_WHOLE = frozenset({"limit", "max_pixels", "max_bytes", "max_inflation", "memory_limit_bytes"})
_SWITCHES = frozenset({"reread", "retry_failed", "dry_run", "explain", "json"})


def read_toml(path: str) -> dict[str, Any]:
    """The configuration file as flag values; `retry-failed` and `retry_failed` are the same.

    Raises:
        ConfigError: the file cannot be read, or has a key that no flag has.
    """
    try:
        values = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise ConfigError(f"configuration {path!r}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {path!r}: {error}") from error
    known = {f.name for f in fields(RunConfig) if f.init}
    named = {key.replace("-", "_"): value for key, value in values.items()}
    if unknown := sorted(set(named) - known):
        raise ConfigError(
            f"configuration {path!r}: unknown key {unknown[0]!r}; "
            f"known are {', '.join(sorted(known)).replace('_', '-')}"
        )
    for key, value in named.items():
        if not _fits(key, value):
            raise ConfigError(
                f"configuration {path!r}: {key.replace('_', '-')} = {value!r} is of the wrong kind"
            )
    return named


def _fits(key: str, value: object) -> bool:
    """Whether a TOML value is of the kind that the flag takes; click checks the rest."""
    if key in _LISTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if key in _TEXTS:
        return isinstance(value, str)
    if key in _SWITCHES:
        return isinstance(value, bool)
    if key == "operating_point":
        return isinstance(value, (str, float))
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole if key in _WHOLE else whole or isinstance(value, float)
