from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import drawing
import numpy as np
import pytest
from tiny import write_tiny_bundle

from batch_fracture import engines
from batch_fracture.bundle import Bundle, open_bundle
from batch_fracture.engines import OPENVINO_FP32, TORCH_FP32, Engine, choose, open_engine
from batch_fracture.errors import ConfigError
from batch_fracture.preprocess import letterbox

EXACT = (OPENVINO_FP32, TORCH_FP32)


@pytest.fixture(scope="module")
def openvino_engine(tiny_bundle: Bundle) -> Engine:
    return open_engine(OPENVINO_FP32, tiny_bundle, num_threads=1)


@pytest.fixture(scope="module")
def torch_engine(tiny_bundle: Bundle) -> Engine:
    return open_engine(TORCH_FP32, tiny_bundle, num_threads=1)


@pytest.fixture(scope="module")
def pixels(tiny_bundle: Bundle) -> np.ndarray:
    return np.stack([letterbox(drawing.grey(90 + seed, 70, seed), tiny_bundle.input) for seed in range(24)])


def test_hardware_chooses_unless_asked() -> None:
    assert choose(None, None, num_gpus=0) == "openvino-fp32"
    assert choose(None, None, num_gpus=1) == choose(None, None, num_gpus=8) == "torch-fp32"
    for name in engines.NAMES:
        assert choose(name, None, num_gpus=0) == choose(name, None, num_gpus=1) == name


def recorded(bundle: Bundle, **others: dict[str, Any]) -> Bundle:
    record = {
        "reference": OPENVINO_FP32,
        "images": 1000,
        "others": {f"openvino-{n}": o for n, o in others.items()},
    }
    return replace(bundle, manifest={**bundle.manifest, "evaluation": {"engines": record}})


KEEPS, FLIPS, MOVES = (
    {"labels_changed": 5, "auroc_change": -0.002},
    {"labels_changed": 6, "auroc_change": 0.0},
    {"labels_changed": 0, "auroc_change": 0.0021},
)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({}, "openvino-fp32"),
        ({"bf16": KEEPS, "mixed": KEEPS}, "openvino-bf16"),
        ({"bf16": FLIPS, "mixed": KEEPS}, "openvino-mixed"),
        ({"bf16": FLIPS, "mixed": MOVES}, "openvino-fp32"),
        ({"bf16": {"labels_changed": 0}}, "openvino-fp32"),  # a record of before AUROC was in it
        ({"fp16": KEEPS}, "openvino-fp32"),  # no faster here
    ],
)
def test_the_fastest_that_keeps_the_answers_is_chosen(
    tiny_bundle: Bundle, others: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = recorded(tiny_bundle, **others)
    monkeypatch.setattr(engines, "runs_here", lambda _name: True)
    assert choose(None, bundle, num_gpus=0) == expected
    assert choose(None, bundle, num_gpus=1) == "torch-fp32"
    monkeypatch.setattr(engines, "runs_here", lambda _name: False)
    assert choose(None, bundle, num_gpus=0) == "openvino-fp32"


def test_an_unknown_engine() -> None:
    with pytest.raises(ConfigError) as caught:
        choose("onnx", None, num_gpus=0)
    assert str(caught.value).startswith("engine 'onnx': known are openvino-fp32, openvino-mixed, ")


def test_engines_name_themselves(openvino_engine: Engine, torch_engine: Engine) -> None:
    assert (openvino_engine.name, torch_engine.name) == (OPENVINO_FP32, TORCH_FP32)


def test_logits_are_float32_one_per_image(
    openvino_engine: Engine, torch_engine: Engine, pixels: np.ndarray
) -> None:
    for engine in (openvino_engine, torch_engine):
        for size in (1, 5):
            logit_B = engine(pixels[:size])
            assert (logit_B.shape, logit_B.dtype) == ((size,), np.float32)


def test_engines_agree(
    openvino_engine: Engine, torch_engine: Engine, tiny_bundle: Bundle, pixels: np.ndarray
) -> None:
    openvino_B, torch_B = openvino_engine(pixels), torch_engine(pixels)
    assert openvino_B.std() > 0
    np.testing.assert_allclose(openvino_B, torch_B, atol=1e-5)
    probability = tiny_bundle.calibration.probability
    assert np.abs(probability(openvino_B) - probability(torch_B)).max() < engines.TOLERANCE


def test_openvino_gives_an_image_the_same_logit_in_any_batch(
    openvino_engine: Engine, pixels: np.ndarray
) -> None:
    alone_B = np.concatenate([openvino_engine(pixel_SS[None]) for pixel_SS in pixels])
    for size in (2, 5, 16, 24):
        batches = [openvino_engine(pixels[at : at + size]) for at in range(0, 24, size)]
        np.testing.assert_array_equal(np.concatenate(batches), alone_B)
    order_B = np.random.default_rng(0).permutation(24)
    np.testing.assert_array_equal(openvino_engine(pixels[order_B]), alone_B[order_B])


def test_openvino_gives_the_same_logit_on_any_number_of_threads(
    openvino_engine: Engine, tiny_bundle: Bundle, pixels: np.ndarray
) -> None:
    two_threads = open_engine(OPENVINO_FP32, tiny_bundle, num_threads=2)
    np.testing.assert_array_equal(two_threads(pixels), openvino_engine(pixels))


def test_an_engine_keeps_no_hold_on_its_answers(openvino_engine: Engine, pixels: np.ndarray) -> None:
    first_B = openvino_engine(pixels[:4])
    kept_B = first_B.copy()
    openvino_engine(255 - pixels[:4])
    np.testing.assert_array_equal(first_B, kept_B)


def test_cpu_runs_load_no_torch(tiny_bundle: Bundle) -> None:
    script = """
import sys
import numpy as np
from batch_fracture.bundle import open_bundle
from batch_fracture.engines import open_engine
bundle = open_bundle(sys.argv[1])
logit_B = open_engine("openvino-fp32", bundle, num_threads=1)(np.zeros((3, 64, 64), np.uint8))
print(len(logit_B), [name for name in ("torch", "timm", "ray") if name in sys.modules])
"""
    command = [sys.executable, "-c", script, str(tiny_bundle.path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "3 []\n"


def test_a_missing_torch_is_said_with_its_remedy(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    for name in ("network", "torch_engine"):
        monkeypatch.delitem(sys.modules, f"batch_fracture.engines.{name}", raising=False)
    with pytest.raises(ConfigError) as caught:
        open_engine(TORCH_FP32, tiny_bundle, num_threads=1)
    assert str(caught.value).startswith("engine torch-fp32 needs timm: pip install 'batch-fracture[gpu]'")


@pytest.fixture(scope="module")
def evidence_engines(tmp_path_factory: pytest.TempPathFactory) -> list[Engine]:
    folder = write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "dense", head="evidence")
    return [open_engine(name, open_bundle(str(folder)), num_threads=1) for name in EXACT]


def test_engines_agree_on_evidence(evidence_engines: list[Engine], pixels: np.ndarray) -> None:
    one, other = (engine.evidence(pixels) for engine in evidence_engines)
    for evidence_Bhw in (one, other):
        assert (evidence_Bhw.shape, evidence_Bhw.dtype) == ((24, 4, 4), np.float32)
    assert one.std() > 0
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_logit_is_pooled_evidence(evidence_engines: list[Engine], pixels: np.ndarray) -> None:
    for engine in evidence_engines:
        logit_B = engine(pixels)
        pooled_B = np.log(np.exp(2 * engine.evidence(pixels)).sum(axis=(1, 2))) / 2
        assert (logit_B.shape, logit_B.dtype) == ((24,), np.float32)
        np.testing.assert_allclose(logit_B, pooled_B, atol=1e-4)  # the offset of these weights is 0


def test_a_pooled_head_has_no_evidence(
    openvino_engine: Engine, torch_engine: Engine, pixels: np.ndarray
) -> None:
    for engine in (openvino_engine, torch_engine):
        with pytest.raises(ConfigError, match="bundle tiny has a pooled head"):
            engine.evidence(pixels)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_answers(
    openvino_engine: Engine, torch_engine: Engine, tiny_bundle: Bundle, pixels: np.ndarray
) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    assert torch_engine._device.type == "cuda"
    probability = tiny_bundle.calibration.probability
    difference_B = probability(openvino_engine(pixels)) - probability(torch_engine(pixels))
    assert np.abs(difference_B).max() < engines.TOLERANCE


def test_signals_are_heard_after_engines_have_gone(tiny_bundle: Bundle) -> None:
    code = f"""
import faulthandler, os, signal
from batch_fracture.bundle import open_bundle
from batch_fracture.engines import open_engine
faulthandler.enable()  # as Ray does: it has Python's signal handlers use a stack of their own
bundle = open_bundle({str(tiny_bundle.path)!r})
first, second = (open_engine("openvino-fp32", bundle, num_threads=1) for _ in range(2))
del first, second
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGUSR1)
"""
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "heard\n"
