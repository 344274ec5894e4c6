"""The bundles that ship: small, whole, and as good as their cards say."""

from pathlib import Path

import numpy as np
import pytest

from batch_fracture.bundle import DEFAULT, SHIPPED, Bundle, open_bundle, sha256_of
from batch_fracture.engines import OPENVINO_FP32, TORCH_FP32
from batch_fracture.statistics import auroc
from training.card import model_card
from training.datasets import fracatlas_subset
from training.dealt import deal, parts_with_fold
from training.evaluate import engine_logits
from training.figures import figures, scored
from training.inputs import Examples, read_examples
from training.split import parts_of

SHARED = Path(__file__).parents[2] / "shared" / "radiographs"
LABELS = SHARED / "labels.csv"


FAST, ACCURATE = "fracatlas-lite0", "fracatlas-ensemble"


@pytest.fixture(scope="module", params=[DEFAULT, FAST, ACCURATE])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return open_bundle(request.param)


def test_small_whole_and_documented(bundle: Bundle) -> None:
    assert bundle.path == SHIPPED / bundle.name
    assert sum(path.stat().st_size for path in bundle.path.iterdir()) < (
        31_000_000 if bundle.name == ACCURATE else 15_000_000
    )
    assert (bundle.path / "MODEL_CARD.md").read_text(encoding="utf-8") == model_card(bundle.manifest)
    assert set(bundle.operating_points) == {"high-sensitivity", "balanced", "high-specificity"}
    assert bundle.default_operating_point == "balanced"
    assert "CC BY 4.0" in (bundle.path / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_a_card_of_a_table_with_a_test_split_says_so(bundle: Bundle) -> None:
    fields = bundle.manifest | {
        "training": bundle.manifest["training"] | {"split": {"by": "group", "seed": 0, "reporting": "test"}}
    }
    card = model_card(fields)
    assert "On the **test images**:\n" in card
    assert "in the choice of thresholds (by group, as the table of labels has it). It was" in card
    assert "Thresholds and calibration come from the **validation images**:\n" in card
    assert "half" not in card.partition("## Figures")[2].partition("## Training")[0]


def test_engines_hold_the_same_numbers(bundle: Bundle) -> None:
    pixels_NSS = np.random.default_rng(0).integers(
        0, 256, (4, bundle.input.size, bundle.input.size), np.uint8
    )
    drawn = Examples(rows=(), pixels_NSS=pixels_NSS)
    one, other = (engine_logits(bundle, name, drawn, num_threads=2) for name in (OPENVINO_FP32, TORCH_FP32))
    np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared radiographs are not beside the repository")
def test_the_card_can_be_computed_again(bundle: Bundle) -> None:
    training = bundle.manifest["training"]
    rows = fracatlas_subset.read(SHARED)
    split = training["split"]
    if bundle.name == FAST:
        assert sha256_of(LABELS) == training["labels_sha256"]
        parts = parts_of(rows, seed=split["seed"])
    else:
        fold, num_folds = (int(number) for number in split["fold"].split(" of "))
        dealt = deal(rows, num_folds=num_folds, seed=split["seed"])
        parts = parts_with_fold(dealt, fold - 1, seed=split["seed"])
        assert parts.record["sha256"] == split["sha256"]
    reporting = parts.reporting
    examples = read_examples(LABELS, reporting, bundle.input)
    logit_N = engine_logits(bundle, OPENVINO_FP32, examples, num_threads=2)
    found = figures(scored(bundle, examples, logit_N))
    card = bundle.manifest["evaluation"]["reporting"]
    # Another CPU may sum in another order, and an image on a threshold may change sides.
    assert auroc(examples.label_N, logit_N).value == pytest.approx(card["auroc"]["value"], abs=0.002)
    assert found["brier"]["value"] == pytest.approx(card["brier"]["value"], abs=0.001)
    for name, at in found["operating_points"].items():
        for figure in ("sensitivity", "specificity"):
            assert abs(at[figure]["count"] - card["operating_points"][name][figure]["count"]) <= 1
