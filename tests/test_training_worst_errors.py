"""The errors that the model was surest of, and each with its own picture."""

from pathlib import Path

import numpy as np
from labelled import as_scored

from training.worst_errors import NUM_SHOWN, worst_errors, worst_errors_figure

LABELS = [1, 1, 1, 0, 0, 0, 1]
PROBABILITIES = [0.4, 0.1, 0.9, 0.8, 0.6, 0.2, 0.1]  # 0.5 is the default operating point


def pictures(num_images: int) -> dict[int, np.ndarray]:
    return {index: np.full((4, 4), 10 * index, np.uint8) for index in range(num_images)}


def test_the_surest_errors_come_first_and_nothing_that_is_right() -> None:
    missed, called = worst_errors(as_scored(LABELS, PROBABILITIES))
    assert missed.tolist() == [1, 6, 0]
    assert called.tolist() == [3, 4]


def test_no_more_than_fit() -> None:
    missed, called = worst_errors(as_scored(np.ones(40), np.linspace(0.4, 0.0, 40)))
    assert missed.tolist() == list(range(39, 39 - NUM_SHOWN, -1))
    assert called.tolist() == []


def test_every_picture_stands_under_its_own_row_and_probability(tmp_path: Path) -> None:
    of = as_scored(LABELS, PROBABILITIES)
    figure = worst_errors_figure(of, pictures(7), "a $model")
    assert "a $model, at balanced. It shows patients" in figure.get_suptitle()
    shown = [(axes.get_title(), int(axes.images[0].get_array()[0, 0])) for axes in figure.axes if axes.images]
    assert shown == [
        ("row 3  foot\nprobability 0.100", 10),
        ("row 8  hand\nprobability 0.100", 60),
        ("row 2  hand\nprobability 0.400", 0),
        ("row 5  foot\nprobability 0.800", 30),
        ("row 6  hand\nprobability 0.600", 40),
    ]
    assert [part.get_suptitle() for part in figure.subfigs] == [
        "Missed fractures, least probable first: 3 of 3",
        "False calls, most probable first: 2 of 2",
    ]
    figure.savefig(tmp_path / "sheet.png")


def test_without_errors_the_sheet_is_empty(tmp_path: Path) -> None:
    figure = worst_errors_figure(as_scored([0, 1], [0.1, 0.9]), {}, "")
    assert not [axes for axes in figure.axes if axes.images]
    figure.savefig(tmp_path / "sheet.png")
