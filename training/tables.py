"""From TOML tables to frozen dataclasses: every key known, every value of its type."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from batch_fracture.errors import ConfigError

_KINDS: dict[str, tuple[tuple[type, ...], Callable[[Any], Any]]] = {
    "str": ((str,), str),
    "bool": ((bool,), bool),
    "int": ((int,), int),
    "float": ((int, float), float),
    "Path": ((str, Path), Path),
    "tuple[str, ...]": ((list, tuple), tuple),
    "tuple[dict[str, Any], ...]": ((list, tuple), tuple),
}
"""Declared type: what TOML may give for it, and how that becomes one."""


def build(kind: type, table: dict[str, Any], *, tables: Mapping[str, type], prefix: str = "") -> Any:
    """An instance of a dataclass.

    Args:
        kind: the dataclass.
        table: a TOML table.
        tables: the fields that are tables themselves, and their dataclasses.
        prefix: what stands before a key in messages.

    Raises:
        ConfigError: a key is unknown or missing, or a value is not of its field's type.
    """
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
    return kind(**{name: _value(fields[name], prefix + name, value, tables) for name, value in table.items()})


def _value(field: dataclasses.Field[Any], name: str, value: Any, tables: Mapping[str, type]) -> Any:
    """A TOML value as the field's type."""
    if field.name in tables:
        if not isinstance(value, dict):
            raise ConfigError(f"{name} = {value!r}: it must be a table")
        return build(tables[field.name], value, tables={}, prefix=f"{name}.")
    accepted, convert = _KINDS[str(field.type)]
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
        raise ConfigError(f"{name} = {value!r}: it must be of type {field.type}")
    return convert(value)
