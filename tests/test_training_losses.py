"""Losses by hand, and the same for a whole step as for its pieces."""

import math

import pytest
import torch
from recipes import recipe

from training.batches import Batch
from training.losses import total_loss
from training.network import Answers


def batch(labels: list[float], *, located: list[float] | None = None) -> Batch:
    covered_BSS = torch.zeros(len(labels), 32, 32)
    for covered_SS, label in zip(covered_BSS, labels, strict=True):
        covered_SS[:16, :8] = label  # half of the first of 2 x 2 locations
    return Batch(
        pixels_BSS=torch.zeros(len(labels), 32, 32),
        label_B=torch.tensor(labels),
        covered_BSS=covered_BSS,
        located_B=torch.tensor(located or [1.0] * len(labels)),
    )


def cross_entropy(logit: float, target: float) -> float:
    probability = 1 / (1 + math.exp(-logit))
    return -target * math.log(probability) - (1 - target) * math.log(1 - probability)


def test_the_image_loss_weighs_fractures() -> None:
    answers = Answers(torch.tensor([1.0, -2.0]), None, None)
    loss = total_loss(answers, batch([1.0, 0.0]), recipe(positive_weight=3.0))
    assert float(loss) == pytest.approx((3 * cross_entropy(1.0, 1) + cross_entropy(-2.0, 0)) / 2)


def test_all_parts_by_hand() -> None:
    evidence_Bhw = torch.tensor([[[2.0, -1.0], [-1.0, -1.0]], [[0.5, 0.5], [0.5, 0.5]]])
    answers = Answers(torch.tensor([1.0, -2.0]), evidence_Bhw, torch.tensor([0.3, 0.1]))
    settings = recipe(head="evidence", box_weight=20.0, auxiliary_weight=0.3)
    loss = total_loss(answers, batch([1.0, 0.0]), settings)
    image = (cross_entropy(1.0, 1) + cross_entropy(-2.0, 0)) / 2
    auxiliary = (cross_entropy(0.3, 1) + cross_entropy(0.1, 0)) / 2
    boxes = ((cross_entropy(2.0, 0.5) + 3 * cross_entropy(-1.0, 0)) / 4 + cross_entropy(0.5, 0)) / 2
    assert float(loss) == pytest.approx(image + 0.3 * auxiliary + 20 * boxes, rel=1e-5)


def test_a_fracture_without_boxes_teaches_no_location() -> None:
    evidence_Bhw = torch.full((2, 2, 2), 3.0, requires_grad=True)
    answers = Answers(torch.zeros(2), evidence_Bhw, None)
    total_loss(answers, batch([1.0, 0.0], located=[0.0, 1.0]), recipe(head="evidence")).backward()
    assert evidence_Bhw.grad is not None
    assert evidence_Bhw.grad[0].abs().max() == 0
    assert evidence_Bhw.grad[1].min() > 0


def test_pieces_add_up_to_the_step() -> None:
    torch.manual_seed(0)
    labels, located = [1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0]
    whole, settings = batch(labels, located=located), recipe(head="evidence", positive_weight=2.0)
    answers = Answers(torch.randn(4), torch.randn(4, 2, 2), torch.randn(4))
    pieces = [
        total_loss(
            Answers(*(tensor[part] for tensor in answers if tensor is not None)),
            Batch(**{name: tensor[part] for name, tensor in vars(whole).items()}),
            settings,
        )
        for part in (slice(0, 2), slice(2, 4))
    ]
    torch.testing.assert_close(sum(pieces) / 2, total_loss(answers, whole, settings))
