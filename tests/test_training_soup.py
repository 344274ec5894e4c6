"""Trainings whose weights are averaged: what they share, what differs, and the mean itself."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labelled import drawn_examples
from recipes import recipe
from training_site import write_recipe

from batch_fracture.bundle import DEFAULT, open_bundle
from batch_fracture.errors import ConfigError
from training.card import model_card
from training.config import read_config
from training.fit import fit
from training.soup import fit_all, mean_of, members


def test_trainings_differ_in_what_their_tables_say() -> None:
    config = recipe(epochs=3, soup=({"seed": 7, "augmentation": {"scale": 0.3}}, {"epochs": 5}))
    first, second, third = members(config)
    assert first == dataclasses.replace(config, soup=())
    assert second == dataclasses.replace(
        first,
        name="tiny-training-2",
        seed=7,
        augmentation=dataclasses.replace(first.augmentation, scale=0.3),
    )
    assert third == dataclasses.replace(first, name="tiny-training-3", epochs=5)
    assert members(first) == (first,)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"architecture": "resnet18"},
            r"^soup\.architecture: the tables of soup may change augmentation, balance",
        ),
        ({"epoch": 3}, r"^soup\.epoch: the tables of soup may change"),
        ({"epochs": 0}, r"^soup: epochs = 0: it must be 1 or more"),
        ({"seed": "x"}, r"^soup: seed = 'x': it must be of type int"),
        ({"augmentation": {"flop": 1}}, r"^soup: unknown key augmentation\.flop"),
        (3, r"^soup = \[3\]: each must be a table, \[\[soup\]\]"),
    ],
)
def test_tables_that_cannot_be(table: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        members(recipe(soup=(table,)))


def test_the_command_line_wins_over_every_training(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, epochs=2)
    path.write_text(path.read_text() + "[[soup]]\nepochs = 9\nseed = 1\n")
    assert [(one.epochs, one.seed) for one in members(read_config(path))] == [(2, 0), (9, 1)]
    assert [(one.epochs, one.seed) for one in members(read_config(path, epochs=4))] == [(4, 0), (4, 1)]


def test_the_mean_of_floats_and_the_first_of_counters() -> None:
    states = [{"weight": torch.tensor([value]), "steps": torch.tensor(int(value))} for value in (1.0, 4.0)]
    mean = mean_of(states)
    assert (mean["weight"].item(), mean["weight"].dtype, mean["steps"].item()) == (2.5, torch.float32, 1)


def test_the_card_says_what_was_averaged() -> None:
    fields = copy.deepcopy(open_bundle(DEFAULT).manifest)
    fields["training"]["recipe"]["soup"] = [{"seed": 7, "augmentation": {"scale": 0.3}}, {"epochs": 5}]
    said = "The weights are the mean of 3 such trainings; the others had seed 7, scale 0.3; epochs 5."
    assert said in model_card(fields)
    fields["training"]["recipe"]["soup"] = []
    assert "such trainings" not in model_card(fields)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_the_model_has_the_mean_of_what_was_trained(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").touch()
    config = recipe(labels=tmp_path / "labels.csv", epochs=1, batch_size=4, soup=({"seed": 7},))
    examples = drawn_examples(np.array([0, 1] * 4), side=64)
    served, metrics = fit_all(config, examples, examples, storage=str(tmp_path))
    ended = [fit(one, examples, examples, storage=str(tmp_path)) for one in members(config)]  # only read
    first, second = (network.state_dict() for network, _ in ended)
    assert metrics["trained_s"] == pytest.approx(sum(of["trained_s"] for _, of in ended))
    differ = 0
    for name, tensor in served.state_dict().items():
        wanted = (first[name].double() + second[name].double()) / 2
        np.testing.assert_allclose(tensor.double(), wanted, rtol=1e-6, atol=1e-9, err_msg=name)
        differ += bool((first[name] != second[name]).any())
        if tensor.ndim > 1:  # one start for both seeds: weights drawn anew would lie about 1.4 apart
            apart = (first[name] - second[name]).norm() / first[name].norm()
            assert apart < 0.5, name
    assert differ > 10
