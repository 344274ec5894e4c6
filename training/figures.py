"""Figures of scored images: discrimination, operating points, calibration; overall and by body region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from batch_fracture import by_group
from batch_fracture.bundle import Bundle
from batch_fracture.statistics import auroc, wilson
from training.inputs import Examples

_ENOUGH = 10
"""Images of each label that a body region needs for a line of its own."""

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Calls:
    """What one operating point says of each image."""

    called_N: npt.NDArray[np.bool_]  # noqa: N815 - a shape suffix
    """Whether it counts as fractured."""
    threshold: float | None = None
    """On the calibrated probability; None where each fold has its own."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Labelled images and what a model says of them, all in one order."""

    row_N: npt.NDArray[np.int64]  # noqa: N815 - a shape suffix
    """Where each stands: the line of the table of labels, or the place from 0 among pooled scores."""
    label_N: Values  # noqa: N815
    """0 or 1."""
    group_N: npt.NDArray[np.str_]  # noqa: N815
    region_N: npt.NDArray[np.str_]  # noqa: N815
    """Empty where it is not known."""
    probability_N: Values  # noqa: N815
    """Calibrated on other images."""
    calls: Mapping[str, Calls]
    """By the name of the operating point."""
    default_point: str
    """The one that regions and errors are counted at."""


def scored(bundle: Bundle, examples: Examples, logit_N: Values) -> Scored:
    """A bundle's probabilities and calls.

    Args:
        bundle: whose calibration and operating points are applied.
        examples: what was scored.
        logit_N: raw, in the order of `examples.rows`.
    """
    probability_N = bundle.calibration.probability(logit_N)
    return Scored(
        row_N=np.array([row.row for row in examples.rows], np.int64),
        label_N=examples.label_N,
        group_N=np.array([row.group for row in examples.rows], np.str_),
        region_N=np.array([row.region for row in examples.rows], np.str_),
        probability_N=probability_N,
        calls={
            name: Calls(called_N=probability_N >= np.float32(at.threshold), threshold=at.threshold)
            for name, at in bundle.operating_points.items()
        },
        default_point=bundle.default_operating_point,
    )


def figures(of: Scored) -> dict[str, Any]:
    """Every figure with its 95 % interval, as a JSON object.

    `auroc` has DeLong's interval and shares have Wilson's, which take images as independent; `auroc_by_group`
    and all others take groups as independent.
    """
    at_points = {
        name: {"threshold": at.threshold, **_accuracy(of.label_N, at.called_N)}
        for name, at in of.calls.items()
    }
    everywhere = np.ones(len(of.label_N), np.bool_)
    return {**_figures(of, everywhere), "operating_points": at_points, "regions": _regions(of)}


def counts(examples: Examples) -> dict[str, int]:
    """How many images, fractures and groups."""
    return {
        "images": len(examples.rows),
        "fractured": examples.num_fractured,
        "groups": examples.num_groups,
    }


def _figures(of: Scored, among_N: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Counts and what needs no threshold, of some of the images."""
    label, probability, group = of.label_N[among_N], of.probability_N[among_N], of.group_N[among_N]
    found = {
        "auroc": auroc(label, probability),
        "auroc_by_group": by_group.auroc(label, probability, group),
        "average_precision": by_group.average_precision(label, probability, group),
        "expected_calibration_error": by_group.expected_calibration_error(label, probability, group),
        "brier": by_group.brier(label, probability, group),
    }
    return {
        "images": len(label),
        "fractured": int(label.sum()),
        "groups": len(set(group.tolist())),
        **{name: asdict(figure) for name, figure in found.items()},
    }


def _accuracy(label_N: Values, called_N: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Sensitivity and specificity."""
    positive, negative = called_N[label_N == 1], called_N[label_N == 0]
    return {
        "sensitivity": asdict(wilson(int(positive.sum()), len(positive))),
        "specificity": asdict(wilson(int((~negative).sum()), len(negative))),
    }


def _regions(of: Scored) -> dict[str, Any]:
    """Figures of each region with enough images of both labels, at the default operating point."""
    called_N = of.calls[of.default_point].called_N
    found = {}
    for region in sorted(set(of.region_N.tolist()) - {""}):
        at_N = of.region_N == region
        label_R = of.label_N[at_N]
        if min(label_R.sum(), len(label_R) - label_R.sum()) >= _ENOUGH:
            found[region] = {**_figures(of, at_N), **_accuracy(label_R, called_N[at_N])}
    return found


def in_words(estimate: Mapping[str, Any]) -> str:
    """A figure with its 95 % interval, as people read it."""
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"
