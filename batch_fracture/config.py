"""The configuration of `batch-fracture run`, checked once."""

from __future__ import annotations

import os
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from batch_fracture import bundle
from batch_fracture.errors import ConfigError
from batch_fracture.results.work import Purpose
from batch_fracture.settings import RADIOGRAPH_MODALITIES, ReadingSettings

ORDERS = ("newest", "oldest", "listed")
LOG_FORMATS = ("rich", "plain", "json")


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
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    order: str = "newest"
    limit: int | None = None
    """Images read in this run at the most."""
    reread: bool = False
    retry_failed: bool = False
    dry_run: bool = False
    max_failed: float = 0.05
    """Share of failed rows above which the run exits with 3."""
    log_format: str | None = None
    """None: rich on a terminal, plain elsewhere."""
    json: bool = False
    settings: ReadingSettings = field(init=False)

    def __post_init__(self) -> None:
        if not self.source:
            raise ConfigError("no SOURCE: name at least one folder, or `source` in the configuration file")
        if not self.results:
            raise ConfigError("no --results: name the folder that takes the tables")
        if self.limit is not None and (self.reread or self.retry_failed):
            raise ConfigError(
                "--limit with --reread or --retry-failed would take the same images again every night; "
                "leave one out, or name a smaller SOURCE"
            )
        modalities = tuple(m.upper() if m.lower() != "all" else "all" for m in self.modalities if m)
        if not modalities:
            raise ConfigError("--modalities is empty: name some, such as CR,DX,RG, or all")
        object.__setattr__(self, "source", _outermost(self.source))
        object.__setattr__(self, "settings", ReadingSettings(modalities=modalities))
        self._refuse_results_inside_source()

    def purpose(self, model: bundle.Bundle) -> Purpose:
        """What this run is for, as its manifest records it.

        Raises:
            ConfigError: the bundle has no such operating point.
        """
        point = model.operating_point(self.operating_point)
        return Purpose(
            sources=self.source,
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
        )

    def _refuse_results_inside_source(self) -> None:
        results = _resolved(self.results)
        for source in self.source:
            if results.is_relative_to(_resolved(source)):
                raise ConfigError(
                    f"--results {self.results!r} lies inside the source {source!r}, so the next run would "
                    "read its own tables; put it elsewhere"
                )


def _outermost(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Absolute, sorted, without those that lie inside another: equal work has an equal name.

    `abspath` folds `..`; `resolve()` would rename what links name.
    """
    for source in sources:
        if not source:
            raise ConfigError("a SOURCE is empty; name a folder or a file (is a shell variable unset?)")
        if "://" in source:
            raise ConfigError(f"source {source!r}: only local folders and files are supported; name a path")
        try:
            source.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"source {source!r}: the name is not valid UTF-8; rename it") from error
    paths = sorted({Path(os.path.abspath(source)) for source in sources})  # noqa: PTH100 - see above
    inner = {path for path in paths for other in paths if path != other and path.is_relative_to(other)}
    return tuple(str(path) for path in paths if path not in inner)


def _resolved(path: str) -> Path:
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{path!r}: its links lead in a circle; name the folder itself") from error


_TEXTS = frozenset({"results", "model", "engine", "address", "order", "log_format"})
_LISTS = frozenset({"source", "include", "exclude", "modalities"})
_SWITCHES = frozenset({"reread", "retry_failed", "dry_run", "json"})


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
    return whole if key == "limit" else whole or isinstance(value, float)
