"""What is trained, what stays frozen, how fast each layer learns, and what is exported of it."""

import pytest
import torch
from recipes import recipe

from batch_fracture.errors import ConfigError
from training.network import best_network, new_network, parameter_groups, train_mode
from training.state import TrainingState


def test_the_evidence_head_starts_sane() -> None:
    torch.manual_seed(0)
    trained = new_network(recipe(head="evidence", architecture="test_resnet", input_size=320)).eval()
    with torch.inference_mode():
        answers = trained(torch.rand(2, 320, 320) * 255)
    assert answers.evidence_Bhw.shape == (2, 20, 20)
    # A location says 0.01; an image of 400 of them 0.17, about as many as are fractured.
    assert float(torch.sigmoid(answers.evidence_Bhw).mean()) == pytest.approx(0.01, abs=0.01)
    assert float(torch.sigmoid(answers.logit_B).mean()) == pytest.approx(0.17, abs=0.1)
    pooled_B = torch.logsumexp(2 * answers.evidence_Bhw.flatten(1), 1) / 2
    torch.testing.assert_close(answers.logit_B, pooled_B)


@pytest.mark.parametrize("size", [64, 80, 96])
def test_the_map_has_a_location_for_sixteen_pixels(size: int) -> None:
    trained = new_network(recipe(head="evidence")).eval()
    assert trained(torch.zeros(1, size, size)).evidence_Bhw.shape == (1, size // 16, size // 16)


def test_networks_without_both_strides_are_refused() -> None:
    with pytest.raises(ConfigError, match='head = "evidence": VisionTransformer has no features at strides'):
        new_network(recipe(head="evidence", architecture="test_vit"))


def test_the_auxiliary_head_is_not_served() -> None:
    settings = recipe(head="evidence")
    trained = new_network(settings)
    assert trained.auxiliary is not None
    assert not [name for name in trained.served.state_dict() if "auxiliary" in name]
    assert new_network(recipe(head="evidence", auxiliary_weight=0.0)).auxiliary is None
    assert new_network(recipe()).auxiliary is None


def test_frozen_stages_cost_no_gradient_and_keep_their_statistics() -> None:
    trained = new_network(recipe(head="evidence", frozen_stages=3))
    train_mode(trained, batchnorm="live")
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    answers = trained(torch.rand(4, 64, 64) * 255)
    (answers.logit_B.sum() + answers.auxiliary_B.sum()).backward()
    moved = {name for name, tensor in trained.state_dict().items() if not torch.equal(tensor, before[name])}
    trained_names = {name for name, parameter in trained.named_parameters() if parameter.grad is not None}
    frozen = ("conv_stem", "bn1.", "blocks.0", "blocks.1")
    assert not [
        n
        for n in moved | trained_names
        if n.startswith(tuple(f"served.network.backbone.{f}" for f in frozen))
    ]
    assert any("backbone.blocks.2" in name for name in moved)
    assert any("backbone.blocks.2" in name for name in trained_names)


def test_too_many_frozen_stages() -> None:
    with pytest.raises(ConfigError, match="frozen_stages = 9: EfficientNet has only 6 to freeze"):
        new_network(recipe(frozen_stages=9))


def test_frozen_batchnorm_keeps_its_statistics_but_learns_its_weights() -> None:
    trained = new_network(recipe(head="evidence"))
    train_mode(trained, batchnorm="frozen")
    trained(torch.rand(4, 64, 64) * 255).logit_B.sum().backward()
    for name, buffer in trained.named_buffers():
        if name.endswith("running_mean"):
            assert buffer.abs().max() == 0, name
    assert trained.backbone.bn1.weight.grad is not None


def test_early_layers_learn_more_slowly() -> None:
    settings = recipe(head="evidence", layer_decay=0.5, learning_rate=0.1, weight_decay=0.05)
    trained = new_network(settings)
    rate, decay = {}, {}
    for group in parameter_groups(trained, settings):
        for parameter in group["params"]:
            rate[id(parameter)], decay[id(parameter)] = group["lr"], group["weight_decay"]
    assert set(rate) == {id(parameter) for parameter in trained.parameters()}
    head, stem = trained.served.network.logit.weight, trained.backbone.conv_stem.weight
    block = trained.backbone.blocks[3][0].conv_pw.weight
    assert rate[id(head)] == 0.1
    assert 0 < rate[id(stem)] < rate[id(block)] < 0.1
    assert (decay[id(head)], decay[id(trained.served.network.offset)]) == (0.05, 0.0)
    alike = parameter_groups(trained, recipe(head="evidence", learning_rate=0.1))
    assert {group["lr"] for group in alike} == {0.1}


def test_what_is_exported_is_the_running_average(tmp_path: object) -> None:
    settings = recipe(head="evidence")
    state = TrainingState(settings, steps_per_epoch=1, device=torch.device("cpu"))
    with torch.no_grad():
        for parameter in state.averaged.module.served.parameters():
            parameter.fill_(0.5)
    state.save(tmp_path / "state.pt")
    served = best_network(settings, tmp_path / "state.pt")
    assert served.head == "evidence"
    for name, parameter in served.named_parameters():
        assert parameter.unique().tolist() == [0.5], name
