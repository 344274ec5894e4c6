"""Learning rate and running average, step by step."""

import numpy as np
import pytest
import torch
from recipes import recipe

from training.schedule import learning_rate_factor, running_average


def test_learning_rate_rises_in_a_line_then_falls_in_half_a_cosine() -> None:
    settings = recipe(epochs=5, warmup_epochs=1.0)
    factors = [learning_rate_factor(step, 10, settings) for step in range(50)]
    assert np.allclose(np.diff(factors[:10]), 1 / 11)
    assert factors[10] == 1.0
    assert factors[30] == pytest.approx(0.5)
    assert np.all(np.diff(factors[10:]) < 0)
    assert learning_rate_factor(50, 10, settings) == pytest.approx(0.0, abs=1e-12)


def test_running_average_by_hand() -> None:
    average, value = [torch.zeros(2), torch.tensor(1)], [torch.ones(2), torch.tensor(5)]
    update = running_average(0.9)
    update(average, value, torch.tensor(0))  # at first 1 / 10 is kept
    assert average[0].tolist() == pytest.approx([0.9, 0.9])
    update(average, value, torch.tensor(10_000))
    assert average[0].tolist() == pytest.approx([0.91, 0.91])
    assert average[1] == 5
