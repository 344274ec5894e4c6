"""Bundles of several networks, and of several looks at each image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import drawing
import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY_SIZE, write_tiny_bundle
from torch.nn import functional

from batch_fracture import engines
from batch_fracture.bundle import Bundle, Member, open_bundle
from batch_fracture.cli import describe
from batch_fracture.engines import OPENVINO_FP32, TORCH_FP32, open_engine
from batch_fracture.engines.cut import cut
from batch_fracture.engines.network import network_of
from batch_fracture.engines.openvino_engine import compiled, core
from batch_fracture.engines.torch_engine import _batch_size
from batch_fracture.errors import ConfigError
from batch_fracture.preprocess import InputSpec, letterbox

EXACT = (OPENVINO_FP32, TORCH_FP32)
ALL = {"mirror": True, "closer": True, "others": (48, 32)}
LOWER = [
    pytest.param(
        name, marks=pytest.mark.skipif(not engines.runs_here(name), reason=f"this CPU computes no {name}")
    )
    for name in engines.OPENVINO[1:]
]
MARGIN = 16
"""What a closer look at 64 pixels leaves out at each edge."""


def enlarged(image_HW: np.ndarray, side: int) -> np.ndarray:
    """Bilinear, by another library than the engines use."""
    found = Image.fromarray(image_HW.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(found)


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bundle]:
    """Writes a bundle and opens it."""

    def written(**fields: Any) -> Bundle:
        folder = tmp_path_factory.mktemp("bundles") / "tiny"
        return open_bundle(str(write_tiny_bundle(folder, lively=True, **fields)))

    return written


@pytest.fixture(scope="module")
def pixels(tiny_bundle: Bundle) -> np.ndarray:
    return np.stack([letterbox(drawing.grey(90 + seed, 70, seed), tiny_bundle.input) for seed in range(12)])


@pytest.mark.parametrize("head", ["pooled", "evidence"])
def test_both_engines_give_the_same_in_any_batch(
    write: Callable[..., Bundle], pixels: np.ndarray, head: str
) -> None:
    one, other = (open_engine(name, write(head=head, **ALL), num_threads=1) for name in EXACT)
    np.testing.assert_allclose(one(pixels), other(pixels), atol=1e-4)
    np.testing.assert_allclose(one(pixels[3:4]), one(pixels)[3:4], atol=1e-5)
    if head == "evidence":
        assert one.evidence(pixels).shape == (12, 4, 4)
        np.testing.assert_allclose(one.evidence(pixels), other.evidence(pixels), atol=1e-4)


@pytest.mark.parametrize("head", ["pooled", "evidence"])
def test_networks_answer_with_their_mean_each_at_its_size(
    write: Callable[..., Bundle], pixels: np.ndarray, head: str
) -> None:
    bundle = write(head=head, others=(48, 32))
    served = network_of(bundle)
    assert (len(served.networks), served.head) == (3, head)
    image = served.normalised(torch.from_numpy(pixels))
    logits, maps = [], []
    with torch.inference_mode():
        for network, size in zip(served.networks, (TINY_SIZE, 48, 32), strict=True):
            seen = functional.interpolate(image, (size, size), mode="bilinear", antialias=True)
            found = network(seen)
            logits.append((found[0] if head == "evidence" else found.squeeze(1)).numpy())
            maps.append(found[1].numpy() if head == "evidence" else None)
    assert not np.allclose(logits[0], logits[1], atol=1e-3)
    engine = open_engine(OPENVINO_FP32, bundle, num_threads=1)
    np.testing.assert_allclose(engine(pixels), np.mean(logits, axis=0), atol=1e-4)
    if head == "evidence":
        assert [at.shape[-1] for at in maps] == [4, 3, 2]
        sized = [np.stack([enlarged(each, 4) for each in at]) for at in maps]
        np.testing.assert_allclose(engine.evidence(pixels), np.mean(sized, axis=0), atol=1e-4)


@pytest.mark.parametrize("name", EXACT)
def test_a_closer_look_is_one_at_the_middle_enlarged(
    write: Callable[..., Bundle], pixels: np.ndarray, name: str
) -> None:
    plain, both = (
        open_engine(name, write(head="evidence", closer=also), num_threads=1) for also in (False, True)
    )
    middle = pixels[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    closer = np.stack([enlarged(each, TINY_SIZE) for each in middle]).round().astype(np.uint8)
    # Greys between two whole ones are rounded here.
    np.testing.assert_allclose(both(pixels), (plain(pixels) + plain(closer)) / 2, atol=0.01)
    assert np.abs(both(pixels) - plain(pixels)).max() > 0.05
    whole, near, found = plain.evidence(pixels), plain.evidence(closer), both.evidence(pixels)
    edge = np.ones((4, 4), bool)
    edge[1:3, 1:3] = False
    np.testing.assert_allclose(found[:, edge], whole[:, edge], atol=1e-5)
    inside = np.stack([np.asarray(Image.fromarray(each).reduce(2)) for each in near])
    np.testing.assert_allclose(found[:, 1:3, 1:3], (whole[:, 1:3, 1:3] + inside) / 2, atol=0.01)


@pytest.mark.parametrize("name", EXACT)
def test_mirror_images_get_the_same(write: Callable[..., Bundle], pixels: np.ndarray, name: str) -> None:
    engine = open_engine(name, write(head="evidence", **ALL), num_threads=1)
    other = np.ascontiguousarray(pixels[:, :, ::-1])
    np.testing.assert_allclose(engine(pixels), engine(other), atol=1e-4)
    np.testing.assert_allclose(engine.evidence(pixels), engine.evidence(other)[:, :, ::-1], atol=1e-4)


@pytest.mark.parametrize("name", LOWER)
@pytest.mark.parametrize("head", ["pooled", "evidence"])
def test_engines_of_fewer_bits_give_nearly_the_same(
    write: Callable[..., Bundle], pixels: np.ndarray, name: str, head: str
) -> None:
    bundle = write(head=head, **ALL)
    reference, engine = (open_engine(at, bundle, num_threads=1) for at in (OPENVINO_FP32, name))
    assert 0 < np.abs(engine(pixels) - reference(pixels)).max() < 0.1
    if head == "evidence":
        np.testing.assert_allclose(engine.evidence(pixels), reference.evidence(pixels), atol=0.3)


def test_every_network_is_cut_and_the_halves_make_the_whole(
    write: Callable[..., Bundle], pixels: np.ndarray
) -> None:
    bundle = write(head="evidence", **ALL)
    path, read = bundle.path / "model.xml", core().read_model
    early, late = cut(read(path), read(path), sides=[32, 24, 16])
    assert [output.get_partial_shape()[2].get_length() for output in early.outputs] == [32, 24, 16]
    features = list(compiled(early, "fp32", 1)(pixels).values())
    found = compiled(late, "fp32", 1)(features)
    engine = open_engine(OPENVINO_FP32, bundle, num_threads=1)
    np.testing.assert_allclose(found["logit"], engine(pixels), atol=1e-4)
    np.testing.assert_allclose(found["evidence"], engine.evidence(pixels), atol=1e-4)
    with pytest.raises(ConfigError, match="graph does not end in the mean of 2 networks"):
        cut(read(path), read(path), sides=[32, 24])
    with pytest.raises(ConfigError, match="graph cannot be cut at 23 x 23 places"):
        cut(read(path), read(path), sides=[32, 23, 16])


@pytest.mark.skipif(not engines.runs_here("openvino-mixed"), reason="this CPU computes no bf16")
def test_more_of_it_in_fp32_keeps_more_of_the_answers(
    write: Callable[..., Bundle], pixels: np.ndarray
) -> None:
    bundle = write(head="evidence", **ALL)
    reference = open_engine(OPENVINO_FP32, bundle, num_threads=1)(pixels)
    strayed = []
    for stride in (2, 4, 8):
        engine = open_engine("openvino-mixed", dataclasses.replace(bundle, fp32_stride=stride), num_threads=1)
        strayed.append(np.abs(engine(pixels) - reference).mean())
    assert strayed[0] > strayed[1] > strayed[2] > 0


def test_torch_takes_fewer_images_at_a_time_the_more_they_weigh(write: Callable[..., Bundle]) -> None:
    plain = open_engine(TORCH_FP32, write(), num_threads=1)
    assert plain.batch_size in (32, 128)  # on CPUs and on GPUs
    for size, looks, share in ((384, 1, 1), (384, 2, 2), (512, 4, 7), (768, 4, 16)):
        fields = {"mirror": looks > 1, "closer": looks > 2, "input": InputSpec(size=size)}
        found = _batch_size(plain.batch_size, dataclasses.replace(write(), **fields))
        assert found == max(1, plain.batch_size // share)


def test_a_bundle_says_who_answers(write: Callable[..., Bundle]) -> None:
    bundle = write(**ALL)
    assert bundle.others == tuple(Member(architecture="test_efficientnet", input_size=at) for at in (48, 32))
    shown = describe(bundle)
    assert (shown["mirror"], shown["closer"]) == (True, True)
    assert shown["others"] == [{"architecture": "test_efficientnet", "input_size": at} for at in (48, 32)]
