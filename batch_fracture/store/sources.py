"""SOURCEs as the user names them: absolute, outermost, and compared with other locations."""

from __future__ import annotations

import os
import re
from pathlib import Path

from batch_fracture.errors import ConfigError
from batch_fracture.store import bucket

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ONE_SLASH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/(?=[^/])")


def outermost(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Absolute, sorted, without those that lie inside another: equal work has an equal name.

    Raises:
        ConfigError: one of them cannot be a source.
    """
    named = sorted({_absolute(source) for source in sources})
    return tuple(s for s in named if not any(_is_below(s, other) for other in named if other != s))


def lies_inside(location: str, source: str) -> bool:
    """Whether a location is the source, or lies below it; links on disk are followed."""
    if bucket.is_bucket(location) or bucket.is_bucket(source):
        location, source = location.rstrip("/"), source.rstrip("/")
        return location == source or _is_below(location, source)
    return _resolved(location).is_relative_to(_resolved(source))


def absolute(path: str) -> str:
    """An absolute path with its `.` and `..` folded; links keep their names."""
    return one_root(os.path.abspath(path))  # noqa: PTH100 - `resolve()` would rename what links name


def one_root(path: str) -> str:
    """A path that begins with one slash; POSIX lets two at its start mean something else, Linux does not."""
    return "/" + path.lstrip("/") if path.startswith("//") else path


def meant(location: str) -> str | None:
    """What somebody meant who wrote `s3:/bucket/x`, which would be a folder on disk; None for all else."""
    return _ONE_SLASH.sub(r"\1://", location, count=1) if _ONE_SLASH.match(location) else None


def _resolved(path: str) -> Path:
    try:
        return Path(one_root(path)).resolve()
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{path!r}: its links lead in a circle; name the folder itself") from error


def _absolute(source: str) -> str:
    if not source:
        raise ConfigError("a SOURCE is empty; name a folder or a file (is a shell variable unset?)")
    try:
        source.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"source {source!r}: the name is not valid UTF-8; rename it") from error
    if bucket.is_bucket(source):
        return source.rstrip("/") if bucket.split(source)[2] else source.rstrip("/") + "/"
    if _SCHEME.match(source):
        known = ", ".join(f"{scheme}://BUCKET/PREFIX" for scheme in bucket.SCHEMES)
        raise ConfigError(f"source {source!r}: name a folder, a file, or one of {known}")
    if uri := meant(source):
        raise ConfigError(f"source {source!r}: was {uri!r} meant? Name a folder of that name as ./{source}")
    return absolute(source)


def _is_below(location: str, source: str) -> bool:
    return location.startswith(source.rstrip("/") + "/")
