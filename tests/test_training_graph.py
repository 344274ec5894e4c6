"""The graph is the network, and a plain chain."""

import numpy as np
import pytest
import torch

from batch_fracture.engines.cut import cut
from batch_fracture.engines.network import bundled_network
from batch_fracture.engines.openvino_engine import core
from training.graph import to_graph, with_fixed_padding

CLASSIFIER = "tf_efficientnet_lite0"
"""Pads as TensorFlow does, by the size of what it is given."""


@pytest.mark.parametrize("size", [64, 75])
def test_fixed_padding_changes_no_answer(size: int) -> None:
    served = bundled_network(CLASSIFIER, head="evidence", mean=0.5, std=0.5)
    pixels_BSS = torch.randint(0, 256, (3, size, size), dtype=torch.uint8)
    with torch.inference_mode():
        for one, other in zip(
            served(pixels_BSS), with_fixed_padding(served, input_size=size)(pixels_BSS), strict=True
        ):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("mirror", [False, True])
def test_the_graph_answers_as_the_network_and_can_be_cut(mirror: bool) -> None:
    served = bundled_network(CLASSIFIER, head="evidence", mean=0.5, std=0.5, mirror=mirror)
    graph = to_graph(served, input_size=64)
    pixels_BSS = np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8)
    found = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(pixels_BSS)
    with torch.inference_mode():
        logit_B, evidence_Bhw = served(torch.from_numpy(pixels_BSS))
    np.testing.assert_allclose(found["logit"], logit_B.numpy(), atol=1e-4)
    np.testing.assert_allclose(found["evidence"], evidence_Bhw.numpy(), atol=1e-4)
    early, late = cut(graph.clone(), graph.clone(), sides=[32])
    features = core().compile_model(early, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(pixels_BSS)[0]
    assert features.shape == (6 if mirror else 3, 16, 32, 32)  # behind the first block, its narrowest place
    again = core().compile_model(late, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(features)
    np.testing.assert_allclose(again["logit"], found["logit"], atol=1e-5)
