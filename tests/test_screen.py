from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_results_units import finished, manifest
from test_summary import REPORT

from batch_fracture.codes import Code
from batch_fracture.results.units import Tally
from batch_fracture.screen import JsonScreen, PlainScreen, open_screen

SHOW = """
from test_screen import play
from batch_fracture.screen import RichScreen
import time
with RichScreen() as screen:
    play(screen)
"""


def play(screen: PlainScreen) -> None:
    planned = manifest(20)
    screen.started(planned, Tally())
    screen.progress(finished(planned, range(12)))
    screen.progress(finished(planned, range(12, 15), Code.TRUNCATED))
    screen.progress(finished(planned, range(15, 20)))
    screen.finished(REPORT)


def test_plain_lines_are_few_and_say_all() -> None:
    stream = io.StringIO()
    play(PlainScreen(stream))
    lines = stream.getvalue().splitlines()
    assert re.fullmatch(r"run 20261123-\w{16}: 20 images to read; 20 listed, 0 unchanged", lines[0])
    assert re.fullmatch(r"12 of 20 done, 0 failed, 12 positive, [\d.]+ images/s, \d+ s left", lines[1])
    assert re.fullmatch(r"20 of 20 done, 3 failed, 17 positive, [\d.]+ images/s, 0 s left", lines[2])
    assert "complete" in lines[4]


def test_a_resumed_run_says_what_was_done_before() -> None:
    stream = io.StringIO()
    PlainScreen(stream).started(manifest(20), Tally(read=5))
    assert "20 images to read, 5 of them done before" in stream.getvalue()


def test_json_lines_are_objects() -> None:
    stream = io.StringIO()
    play(JsonScreen(stream))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["note", "progress", "progress", "finished"]
    assert (events[2]["done"], events[2]["failed"], events[2]["positive"]) == (20, 3, 17)
    assert events[3]["read"] == 1000
    assert all(event["at"] > 1.7e9 for event in events)


def test_a_terminal_gets_a_bar() -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-c", SHOW], stderr=theirs, env=environment, check=False, timeout=60
    )
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "reading" in shown
    assert "the books balance" in shown


@pytest.mark.parametrize(
    ("log_format", "kind"), [("json", JsonScreen), ("plain", PlainScreen), (None, PlainScreen)]
)
def test_the_format_chooses_the_screen(log_format: str | None, kind: type) -> None:
    with open_screen(log_format) as screen:
        assert type(screen) is kind
