"""What the terminal shows, and what the file of metrics holds after interruptions."""

import io
import json
from pathlib import Path

import pytest
from recipes import recipe

from training.progress import METRICS_FILE, MetricsFile, Screen, epoch_line, messages_to, step_line
from training.storage import open_storage

EPOCH = {"epoch": 3, "loss": 0.42, "auroc_calibration": 0.8, "images_per_s": 17.04, "trained_s": 360.0}
STEP = {"epoch": 4, "step": 30, "steps": 120, "loss": 0.4, "images_per_s": 18.0}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_an_epoch_is_one_plain_line() -> None:
    assert epoch_line(EPOCH, 8) == (
        "epoch 3/8: loss 0.4200, AUROC 0.8000 on the calibration half, 17.0 images/s, 10 min left"
    )


def test_steps_fill_a_bar() -> None:
    assert step_line(STEP, 8) == ("epoch 4/8: [#####               ] step 30/120, loss 0.4000, 18.0 images/s")


def test_a_terminal_sees_steps_that_epochs_write_over() -> None:
    out = Terminal()
    screen = Screen(8, out)
    screen.show(STEP)
    assert out.getvalue() == "\r\x1b[K" + step_line(STEP, 8)
    screen.show(EPOCH)
    assert out.getvalue().endswith("\r\x1b[K" + epoch_line(EPOCH, 8) + "\n")


def test_a_file_sees_epochs_and_a_step_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr("training.progress.time.monotonic", lambda: now_s)
    out = io.StringIO()
    screen = Screen(8, out)
    for now_s in (100.0, 130.0, 159.0, 161.0, 170.0):  # noqa: B007 - the clock reads it
        screen.show(STEP)
    screen.show(EPOCH)
    assert out.getvalue() == step_line(STEP, 8) + "\n" + epoch_line(EPOCH, 8) + "\n"


def test_metrics_are_json_lines_after_the_recipe(tmp_path: Path) -> None:
    folder = open_storage(str(tmp_path / "run"))
    first = MetricsFile(folder, recipe(head="evidence"))
    for epoch in (1, 2, 3):
        first.add({"epoch": epoch, "loss": 1.0 / epoch})
    resumed = MetricsFile(folder, recipe(head="evidence"))
    resumed.add({"epoch": 3, "loss": 0.25})  # the third was not kept; it was trained again
    lines = [json.loads(line) for line in (tmp_path / "run" / METRICS_FILE).read_text().splitlines()]
    assert lines[0]["config"]["head"] == "evidence"
    assert [(line["epoch"], line["loss"]) for line in lines[1:]] == [(1, 1.0), (2, 0.5), (3, 0.25)]


def test_messages_are_heard_in_order_and_failures_come_back(ray_session: str) -> None:
    heard: list[int] = []

    def hear(message: dict[str, int]) -> None:
        heard.append(message["epoch"])
        if message["epoch"] == 2:
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"), messages_to(hear) as messages:
        for epoch in (1, 2, 3):
            messages.put({"epoch": epoch})
    assert heard == [1, 2, 3]
