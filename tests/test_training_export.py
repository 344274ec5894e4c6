"""What is written is what was trained: folded, rounded once, and the same numbers for every engine."""

from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from safetensors.torch import load_file

from batch_fracture.engines.network import ServedNetwork, bundled_network
from batch_fracture.engines.openvino_engine import core
from batch_fracture.errors import BundleError
from training.export import write_weights
from training.fold import fold_batchnorm

SIZE = 64


def lively(architecture: str, head: str = "pooled") -> ServedNetwork:
    """A network whose BatchNorms are far from the identity, as after training."""
    torch.manual_seed(0)
    served = bundled_network(architecture, head=head, mean=0.5, std=0.5)
    for module in served.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
            torch.nn.init.normal_(module.running_mean, 0, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return served


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE), np.uint8)


@pytest.mark.parametrize(
    ("architecture", "head", "norms"),
    [
        ("test_efficientnet", "pooled", 13),
        ("test_resnet", "pooled", 15),
        ("test_efficientnet", "evidence", 16),  # without the last one, with four of its own
        ("test_resnet", "evidence", 19),
    ],
)
def test_folding_changes_no_answer(architecture: str, head: str, norms: int) -> None:
    served = lively(architecture, head)
    with torch.inference_mode():
        before = served(torch.from_numpy(pixels()))
    count = sum(isinstance(module, torch.nn.BatchNorm2d) for module in served.modules())
    assert fold_batchnorm(served.network, torch.zeros(1, 3, SIZE, SIZE)) == count == norms
    with torch.inference_mode():
        for after, as_before in zip(served(torch.from_numpy(pixels())), before, strict=True):
            torch.testing.assert_close(after, as_before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("head", ["pooled", "evidence"])
@pytest.mark.parametrize("architecture", ["test_efficientnet", "test_resnet", "test_convnext"])
def test_graph_and_weights_hold_the_same_numbers(tmp_path: Path, architecture: str, head: str) -> None:
    write_weights(lively(architecture, head), tmp_path, input_size=SIZE)
    weights = load_file(tmp_path / "model.safetensors")
    assert {tensor.dtype for name, tensor in weights.items() if name.endswith("weight")} == {torch.float16}
    served = bundled_network(architecture, head=head, mean=0.5, std=0.5)
    served.network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    with torch.inference_mode():
        answers = served(torch.from_numpy(pixels()))
    graph = core().compile_model(tmp_path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert graph.input(0).element_type == openvino.Type.u8
    names = ["logit", "evidence"] if head == "evidence" else ["logit"]
    assert [output.any_name for output in graph.outputs] == names
    for name, answer in zip(names, answers, strict=True):
        np.testing.assert_allclose(graph(pixels())[name], answer.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 1e-5])  # 1e-5: most of them subnormal in fp16
def test_kernels_are_numbers_of_bf16_too(tmp_path: Path, scale: float) -> None:
    served = lively("test_efficientnet", "evidence")
    with torch.no_grad():
        for parameter in served.network.parameters():
            parameter.mul_(scale if parameter.ndim > 1 else 1.0)
    write_weights(served, tmp_path, input_size=SIZE)
    kernels = {name: w for name, w in load_file(tmp_path / "model.safetensors").items() if w.ndim > 1}
    assert len(kernels) > 15
    for name, stored in kernels.items():
        assert torch.equal(stored.float(), stored.float().bfloat16().float()), name


def test_a_weight_beyond_fp16_is_refused(tmp_path: Path) -> None:
    served = lively("test_resnet")
    with torch.no_grad():
        next(served.network.parameters()).fill_(1e6)
    with pytest.raises(BundleError, match=r"weights conv1\.\d?\.?weight: not all fit fp16"):
        write_weights(served, tmp_path, input_size=SIZE)
