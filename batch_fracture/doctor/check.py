"""One line of the examination."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    value: str
    ok: bool | None = None
    """None: neither right nor wrong, just so."""
    remedy: str | None = None
    """What to do about it; always there when `ok` is False."""


def good(name: str, value: str) -> Check:
    """Nothing to do."""
    return Check(name=name, value=value, ok=True)


def bad(name: str, value: str, remedy: str) -> Check:
    """A run would fail or crawl."""
    return Check(name=name, value=value, ok=False, remedy=remedy)


def note(name: str, value: str, remedy: str | None = None) -> Check:
    """Just so; perhaps with advice."""
    return Check(name=name, value=value, remedy=remedy)
