from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from batch_fracture.deadline import stop_at
from batch_fracture.errors import ConfigError


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in a time zone with summer time."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
    assert "CEST" not in os.environ.get("TZ", "")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone()


@pytest.mark.parametrize(
    ("now", "deadline", "then"),
    [
        ("2026-11-23T22:00", "06:00", "2026-11-24T06:00:00+01:00"),
        ("2026-11-23T02:00", "6:00", "2026-11-23T06:00:00+01:00"),
        ("2026-11-23T06:00", "06:00", "2026-11-24T06:00:00+01:00"),
        ("2026-12-31T23:59", "00:00", "2027-01-01T00:00:00+01:00"),
        ("2026-10-24T22:00", "06:00", "2026-10-25T06:00:00+01:00"),  # nine hours: the clock goes back
        ("2026-03-28T22:00", "06:00", "2026-03-29T06:00:00+02:00"),  # seven hours
    ],
)
def test_a_deadline_is_the_next_such_time_on_the_clock(now: str, deadline: str, then: str) -> None:
    assert stop_at(deadline, None, now=at(now)) == datetime.fromisoformat(then)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("6h", timedelta(hours=6)),
        ("90m", timedelta(minutes=90)),
        ("1h30m", timedelta(minutes=90)),
        ("45s", timedelta(seconds=45)),
        ("1h 5s", timedelta(seconds=3605)),
    ],
)
def test_a_run_time_counts_from_now(text: str, span: timedelta) -> None:
    now = at("2026-11-23T22:00")
    assert stop_at(None, text, now=now) == now + span


def test_none_is_none_and_now_is_now() -> None:
    assert stop_at(None, None) is None
    soon = stop_at(None, "1h")
    assert soon is not None
    assert timedelta(minutes=59) < soon - datetime.now().astimezone() <= timedelta(hours=1)


@pytest.mark.parametrize(
    "text",
    ["", "6", "six hours", "0h", "-1h", "30m1h", "1d", "90000000h", f"{10**18}h", "9" * 5000 + "s"],
)
def test_what_is_no_run_time(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--max-runtime .*6h, 90m"):
        stop_at(None, text)


@pytest.mark.parametrize("text", ["", "24:00", "6", "06:60", "6am", "06:00:00"])
def test_what_is_no_deadline(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--deadline .*06:00"):
        stop_at(text, None)
