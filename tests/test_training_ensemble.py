"""Networks that answer together: what they share, what differs, and a bundle of two that were trained."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from recipes import recipe
from training_site import draw_images, write_recipe

from batch_fracture.bundle import DEFAULT, Member, open_bundle
from batch_fracture.engines import OPENVINO_FP32, TORCH_FP32
from batch_fracture.errors import ConfigError
from training.card import model_card
from training.config import read_config
from training.crossvalidate import main
from training.ensemble import networks, trainings
from training.evaluate import engine_logits
from training.inputs import read_examples
from training.labels import read_labels

SECOND = '[[ensemble]]\narchitecture = "test_efficientnet_gn"\ninput_size = 96\nepochs = 1\n'


def test_networks_differ_in_what_their_tables_say() -> None:
    soup = ({"epochs": 5},)
    config = recipe(mirror=True, closer=True, soup=soup, ensemble=({"architecture": "x", "input_size": 96},))
    first, second = networks(config)
    assert first == dataclasses.replace(config, ensemble=(), mirror=False, closer=False)
    assert second == dataclasses.replace(
        first, name="tiny-network-2", architecture="x", input_size=96, soup=()
    )
    assert networks(first) == (first,)
    assert [(one.name, one.epochs) for one in trainings(config)] == [
        ("tiny", 16),
        ("tiny-training-2", 5),
        ("tiny-network-2", 16),
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"head": "evidence"}, r"^ensemble\.head: the tables of ensemble may change augmentation, balance"),
        ({"soup": []}, r"^ensemble\.soup: the tables of ensemble may change"),
        ({"input_size": 1}, r"^ensemble: input_size: "),
        (3, r"^ensemble = \[3\]: each must be a table, \[\[ensemble\]\]"),
    ],
)
def test_tables_that_cannot_be(table: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        networks(recipe(ensemble=(table,)))


def test_inputs_too_small_to_look_closer_at() -> None:
    assert networks(recipe(closer=True, input_size=64))
    with pytest.raises(ConfigError, match="closer = true: input_size = 48 leaves no middle; 64 is"):
        networks(recipe(closer=True, input_size=48))


def test_the_command_line_wins_over_every_network(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, epochs=2)
    path.write_text(path.read_text() + SECOND)
    assert [(one.epochs, one.input_size) for one in networks(read_config(path))] == [(2, 64), (1, 96)]
    assert [(one.epochs, one.input_size) for one in networks(read_config(path, epochs=4))] == [
        (4, 64),
        (4, 96),
    ]


def test_the_card_says_who_answers_and_how_often_they_look() -> None:
    fields = copy.deepcopy(open_bundle(DEFAULT).manifest)
    fields |= {"mirror": True, "closer": True, "others": [{"architecture": "larger", "input_size": 96}]}
    fields["training"]["recipe"]["ensemble"] = [{"architecture": "larger", "input_size": 96}]
    card = model_card(fields)
    assert "whose answers are averaged: `tf_efficientnet_lite0` at 384 x 384, `larger` at 96" in card
    assert "It looks at the middle too, enlarged, and at the mirror images of both: every answer is" in card
    assert "of their own, the others had architecture larger, input_size 96." in card
    assert "It looks at the mirror image too: every" in model_card(fields | {"closer": False})
    assert "It looks at the middle too, enlarged: every" in model_card(fields | {"mirror": False})


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_a_fold_of_two_networks_becomes_a_bundle(tmp_path: Path) -> None:
    labels = draw_images(tmp_path)
    path = write_recipe(tmp_path, workers=1, epochs=1, choose_epoch="last", mirror=True)
    path.write_text(path.read_text() + SECOND)
    arguments = ["--config", str(path), "--report", str(tmp_path / "report"), "--folds", "3", "--only", "1"]
    done = CliRunner().invoke(
        main, [*arguments, "--storage", str(tmp_path / "storage"), "--bundle", "1"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    assert "network 2 of 2: test_efficientnet_gn at 96 pixels" in done.output
    assert done.output.count("epoch 1/1") == 2  # each once: the bundle takes what the fold trained
    bundle = open_bundle(str(read_config(path).out))
    assert bundle.others == (Member(architecture="test_efficientnet_gn", input_size=96),)
    assert bundle.mirror
    table = pyarrow.parquet.read_table(tmp_path / "report" / "fold-1.parquet")
    of = {row.path.name: row for row in read_labels(labels, tmp_path)}
    tested = read_examples(labels, [of[name] for name in table["image_uri"].to_pylist()], bundle.input)
    for name in (OPENVINO_FP32, TORCH_FP32):  # of rounded weights
        np.testing.assert_allclose(engine_logits(bundle, name, tested), table["logit"].to_numpy(), atol=0.05)
