"""Engines of fewer bits, and answers over the mirror image."""

from __future__ import annotations

from pathlib import Path

import drawing
import numpy as np
import pytest
from tiny import write_tiny_bundle

from batch_fracture import engines
from batch_fracture.bundle import Bundle, open_bundle
from batch_fracture.engines import OPENVINO_FP32, TORCH_FP32, open_engine
from batch_fracture.engines.cut import cut
from batch_fracture.engines.openvino_engine import core
from batch_fracture.errors import ConfigError
from batch_fracture.preprocess import letterbox

EXACT = (OPENVINO_FP32, TORCH_FP32)


@pytest.fixture(scope="module")
def pixels(tiny_bundle: Bundle) -> np.ndarray:
    return np.stack([letterbox(drawing.grey(90 + seed, 70, seed), tiny_bundle.input) for seed in range(24)])


LOWER = [
    pytest.param(
        name, marks=pytest.mark.skipif(not engines.runs_here(name), reason=f"this CPU computes no {name}")
    )
    for name in engines.OPENVINO[1:]
]


@pytest.mark.parametrize("name", LOWER)
@pytest.mark.parametrize(("head", "mirror"), [("pooled", False), ("evidence", True)])
def test_fewer_bits_give_nearly_the_same_in_any_batch(
    tmp_path: Path, pixels: np.ndarray, name: str, head: str, mirror: bool
) -> None:
    bundle = open_bundle(str(write_tiny_bundle(tmp_path / "tiny", head=head, mirror=mirror)))
    reference, engine = (open_engine(at, bundle, num_threads=1) for at in (OPENVINO_FP32, name))
    assert engine.name == name
    alone_B = np.concatenate([engine(pixel_SS[None]) for pixel_SS in pixels])
    np.testing.assert_array_equal(engine(pixels), alone_B)
    assert 0 < np.abs(alone_B - reference(pixels)).max() < 0.05
    if head == "evidence":
        np.testing.assert_allclose(engine.evidence(pixels), reference.evidence(pixels), atol=0.05)


def test_a_cpu_without_the_instructions_refuses_or_takes_the_reference(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batch_fracture.engines import openvino_engine

    monkeypatch.setattr(openvino_engine, "computes", lambda precision: precision == "fp32")
    with pytest.raises(
        ConfigError, match="engine openvino-mixed: this CPU does not compute in bf16; use --engine"
    ):
        open_engine("openvino-mixed", tiny_bundle, num_threads=1)
    assert open_engine("openvino-mixed", tiny_bundle, num_threads=1, asked=False).name == OPENVINO_FP32


@pytest.mark.parametrize("name", ["torch-fp16", "torch-tf32"])
def test_engines_for_gpus_are_refused_without_one(tiny_bundle: Bundle, name: str) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match=f"engine {name} needs a GPU; use --engine openvino-fp32"):
        open_engine(name, tiny_bundle, num_threads=1)


def test_torch_in_bf16_on_a_cpu(tiny_bundle: Bundle, pixels: np.ndarray) -> None:
    found_B, exact_B = (
        open_engine(name, tiny_bundle, num_threads=1)(pixels) for name in ("torch-bf16", TORCH_FP32)
    )
    assert 0 < np.abs(found_B - exact_B).max() < 0.05


def test_mirrored_answers_are_the_mean_and_mirror_images_get_the_same(
    tmp_path: Path, pixels: np.ndarray
) -> None:
    plain, mirrored = (
        open_bundle(str(write_tiny_bundle(tmp_path / str(mirror), head="evidence", mirror=mirror)))
        for mirror in (False, True)
    )
    other = np.ascontiguousarray(pixels[:, :, ::-1])
    for name in EXACT:
        one, both = (open_engine(name, bundle, num_threads=1) for bundle in (plain, mirrored))
        np.testing.assert_allclose(both(pixels), (one(pixels) + one(other)) / 2, atol=1e-5)
        np.testing.assert_allclose(both(pixels), both(other), atol=1e-5)
        mean_Bhw = (one.evidence(pixels) + one.evidence(other)[:, :, ::-1]) / 2
        np.testing.assert_allclose(both.evidence(pixels), mean_Bhw, atol=1e-5)


def test_a_graph_without_such_features_cannot_be_cut(tiny_bundle: Bundle) -> None:
    read = core().read_model
    path = tiny_bundle.path / "model.xml"
    with pytest.raises(ConfigError, match="graph cannot be cut at 31 x 31 places"):
        cut(read(path), read(path), sides=[31])
