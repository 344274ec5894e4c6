"""What training makes small: the image's loss, the boxes' and the auxiliary head's.

Shapes: B images, S side of the square input, h x w locations of the evidence map.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from training.batches import Batch
from training.config import TrainingConfig
from training.network import Answers


def total_loss(answers: Answers, batch: Batch, config: TrainingConfig) -> torch.Tensor:
    """The sum of all losses, a mean over images, fp32 ().

    Every part is a sum over images by their number, however many have boxes: so the mean over equal pieces
    and workers is the loss of the whole step.
    """
    loss = _image_loss(answers.logit_B, batch.label_B, config)
    if answers.auxiliary_B is not None:
        loss = loss + config.auxiliary_weight * _image_loss(answers.auxiliary_B, batch.label_B, config)
    if answers.evidence_Bhw is not None and config.box_weight:
        loss = loss + config.box_weight * _box_loss(answers.evidence_Bhw, batch)
    return loss


def _image_loss(logit_B: torch.Tensor, label_B: torch.Tensor, config: TrainingConfig) -> torch.Tensor:
    weight = torch.tensor(config.positive_weight, device=logit_B.device)
    return functional.binary_cross_entropy_with_logits(logit_B.float(), label_B, pos_weight=weight)


def _box_loss(evidence_Bhw: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Cross-entropy of each location against the share of it that boxes cover; unlocated images count 0."""
    target_Bhw = functional.adaptive_avg_pool2d(batch.covered_BSS, list(evidence_Bhw.shape[-2:]))  # type: ignore[arg-type]
    loss_Bhw = functional.binary_cross_entropy_with_logits(evidence_Bhw.float(), target_Bhw, reduction="none")
    return (loss_Bhw.mean(dim=(1, 2)) * batch.located_B).mean()
