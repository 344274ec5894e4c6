"""The quick network is the same function of the same parameters."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from recipes import recipe

from training.depthwise import library
from training.fast_cpu import speed_up
from training.network import TrainedNetwork, new_network, train_mode

NETWORKS = {"tf_efficientnet_lite0": "imagenet", "test_efficientnet": "random"}
"""Architecture: initial weights. One pads as TensorFlow does, the other one evenly."""


def network(architecture: str) -> TrainedNetwork:
    torch.manual_seed(0)
    settings = {"initial_weights": NETWORKS[architecture], "drop_rate": 0.0, "drop_path_rate": 0.0}
    trained = new_network(recipe(architecture=architecture, head="evidence", **settings))
    trained.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train_mode(trained, batchnorm="frozen")  # statistics of four drawn images would drown all in noise
    return trained


def shown() -> torch.Tensor:
    return torch.rand(4, 96, 96, generator=torch.Generator().manual_seed(1)) * 255


def answers(trained: TrainedNetwork, *, bf16: bool) -> tuple[torch.Tensor, dict[str, Any]]:
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logit_B = trained(shown()).logit_B
    logit_B.sum().backward()
    gradients = {name: p.grad for name, p in trained.named_parameters() if p.grad is not None}
    return logit_B.detach().float(), gradients


@pytest.mark.skipif(library() is None, reason="needs a C compiler and a CPU with AVX-512 BF16")
@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("architecture", NETWORKS)
def test_same_logits_gradients_and_names(architecture: str, fold: bool) -> None:
    plain = network(architecture)
    quick, slow = copy.deepcopy(plain), copy.deepcopy(plain)
    assert speed_up(quick.backbone, fold=fold)
    assert list(quick.state_dict()) == list(plain.state_dict())
    (expected, reference), (found, gradients), (_, rounded) = (
        answers(plain, bf16=False), answers(quick, bf16=True), answers(slow, bf16=True)
    )  # fmt: skip
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.03)
    assert gradients.keys() == reference.keys()
    ours, theirs = (
        np.mean([_angle(of[name], gradient) for name, gradient in reference.items()])
        for of in (gradients, rounded)
    )
    assert ours > theirs - 0.02  # as near to fp32 as torch's own bf16 is
    assert ours > 0.9


def _angle(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.flatten().float(), other.flatten(), dim=0))


def test_networks_of_another_kind_stay_as_they_are() -> None:
    trained = new_network(recipe(architecture="test_resnet"))
    assert not speed_up(trained.backbone, fold=True)
    assert "forward" not in vars(trained.backbone.conv1)
