"""The reporting half: scored once, last, and with a say in nothing but its own figures."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from labelled import drawn_examples

from batch_fracture.bundle import Bundle
from batch_fracture.engines.network import ServedNetwork
from training.card import model_card
from training.config import Source, TrainingConfig
from training.export import export_bundle
from training.inputs import Examples
from training.reporting import chosen_sha256, report_once

SIDE, IMAGES = 64, 40
PICTURES = {"roc.png", "precision_recall.png", "reliability.png", "worst_errors.png"}


def network() -> ServedNetwork:
    torch.manual_seed(0)
    return ServedNetwork(timm.create_model("test_efficientnet", num_classes=1), mean=0.5, std=0.5).eval()


def labelled_by(served: ServedNetwork, *, seed: int) -> Examples:
    """Random pictures; every tenth label goes against the network, so that it is good, not perfect."""
    examples = drawn_examples(np.zeros(IMAGES), side=SIDE, seed=seed)
    with torch.inference_mode():
        logit_N = served(torch.from_numpy(examples.pixels_NSS))[0].numpy()
    label_N = (logit_N > np.median(logit_N)) ^ (np.arange(IMAGES) % 10 == 0)
    return drawn_examples(label_N, side=SIDE, seed=seed)


def exported(folder: Path, calibration: Examples, reporting: Examples) -> Bundle:
    config = TrainingConfig(
        name="tiny",
        labels=folder / "labels.csv",
        images=folder,
        out=folder / "bundle",
        source=Source(name="drawn", licence="CC0", citation="these tests"),
        architecture="test_efficientnet",
        input_size=SIDE,
    )
    given = {
        "initial_weights": "random",
        "minutes": 1.0,
        "machine": "this one",
        "command": "none",
        "epoch": 3,
    }
    digests = {"code_version": "0", "code_sha256": "0" * 64, "labels_sha256": "0" * 64}
    return export_bundle(
        network(),
        config,
        train=calibration,
        calibration=calibration,
        reporting=reporting,
        training=given | digests | {"split": {"by": "group", "seed": 0, "reporting": "half of val"}},
    )


@pytest.fixture(scope="module")
def halves() -> tuple[Examples, Examples]:
    served = network()
    return labelled_by(served, seed=1), labelled_by(served, seed=2)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, halves: tuple[Examples, Examples]) -> Bundle:
    return exported(tmp_path_factory.mktemp("first"), *halves)


def permuted(examples: Examples) -> Examples:
    labels = np.random.default_rng(5).permutation(examples.label_N)
    assert (labels != examples.label_N).any()
    return Examples(rows=drawn_examples(labels).rows, pixels_NSS=examples.pixels_NSS)


def without_figures(bundle: Bundle) -> dict[str, Any]:
    """All of bundle.json but the figures of that half, and what holds them, the time or the graph."""
    fields = json.loads(json.dumps(bundle.manifest))
    del fields["evaluation"]["reporting"], fields["evaluation"]["reporting_scored"]
    del fields["files"]["MODEL_CARD.md"], fields["files"]["model.xml"]
    return fields


def graph(bundle: Bundle) -> str:
    """model.xml without the numbers of its nodes: OpenVINO counts on through all graphs of a process."""
    return re.sub(r'(name="[A-Za-z]+_?)\d+', r"\1", (bundle.path / "model.xml").read_text())


def test_permuted_reporting_labels_change_nothing_but_their_figures(
    tmp_path: Path, bundle: Bundle, halves: tuple[Examples, Examples]
) -> None:
    calibration, reporting = halves
    other = exported(tmp_path, calibration, permuted(reporting))
    assert without_figures(other) == without_figures(bundle)
    assert graph(other) == graph(bundle)
    one, two = (at.manifest["evaluation"]["reporting"] for at in (bundle, other))
    assert one["auroc"]["value"] > 0.7 > two["auroc"]["value"]


def test_bundle_json_says_when_and_what_had_been_chosen(bundle: Bundle) -> None:
    said = bundle.manifest["evaluation"]["reporting_scored"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", said["at"])
    assert said["chosen_sha256"] == chosen_sha256(bundle.manifest)


@pytest.mark.parametrize(
    ("table", "key"), [("files", "model.bin"), ("calibration", "slope"), ("operating_points", "balanced")]
)
def test_another_choice_has_another_digest(bundle: Bundle, table: str, key: str) -> None:
    changed = {**bundle.manifest, table: {**bundle.manifest[table], key: 0}}
    assert chosen_sha256(changed) != chosen_sha256(bundle.manifest)


def test_the_card_has_all_figures_and_the_report_lies_beside_the_bundle(bundle: Bundle) -> None:
    card = (bundle.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card == model_card(bundle.manifest)
    report = bundle.manifest["evaluation"]["reporting"]
    for name in ("auroc", "average_precision", "expected_calibration_error", "brier"):
        figure = report[name]
        assert f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})" in card, name
    assert f"| hand | 40 | {report['fractured']} |" in card
    assert "It was scored once, at 20" in card
    assert "Epoch 3 was taken" in card
    beside = bundle.path.with_name("bundle.evaluation")
    assert {path.name for path in beside.iterdir()} == {"figures.json", "scores.parquet", *PICTURES}
    assert json.loads((beside / "figures.json").read_text()) == report


@pytest.mark.parametrize(("earlier", "stands"), [("the same", True), ("another", False)])
def test_the_same_choice_scored_again_keeps_its_time(
    tmp_path: Path, bundle: Bundle, halves: tuple[Examples, Examples], earlier: str, stands: bool
) -> None:
    """So that a bundle that is only written again keeps its digest, and no archive is read anew for it."""
    then = "2026-01-02T03:04:05+00:00"
    chosen = chosen_sha256(bundle.manifest) if earlier == "the same" else "0" * 64
    evaluation = {"reporting_scored": {"at": then, "chosen_sha256": chosen}}
    (tmp_path / "bundle.json").write_text(json.dumps({"evaluation": evaluation}))
    found = report_once(bundle, halves[0], *halves, out=tmp_path)
    assert (found.evaluation["reporting_scored"]["at"] == then) is stands
    assert found.evaluation["reporting"] == bundle.manifest["evaluation"]["reporting"]
