"""The figures of a bundle, all computed on what its engines answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from batch_fracture.bundle import Bundle, OperatingPoint
from batch_fracture.engines import NAMES, OPENVINO_FP32, open_engine
from batch_fracture.statistics import accuracy, auroc, brier, expected_calibration_error
from training.inputs import Examples

_BATCH = 32
_ENOUGH = 10
"""Images of each label that a body region needs for a line of its own."""

Values = npt.NDArray[np.float32]


def engine_logits(bundle: Bundle, engine: str, examples: Examples, *, num_threads: int) -> Values:
    """Raw logits, float32 (N,), from one engine."""
    run = open_engine(engine, bundle, num_threads=num_threads)
    starts = range(0, len(examples.pixels_NSS), _BATCH)
    return np.concatenate([run(examples.pixels_NSS[start : start + _BATCH]) for start in starts])


def compare_engines(bundle: Bundle, examples: Examples, *, num_threads: int) -> dict[str, Any]:
    """How far the other engines stray from the reference graph on the same images.

    Returns:
        The reference's name, the number of images, and for each other engine the largest difference of
        calibrated probability and the number of images whose label changes at the default operating point.
    """
    probability = {
        name: bundle.calibration.probability(engine_logits(bundle, name, examples, num_threads=num_threads))
        for name in NAMES
    }
    reference_N = probability.pop(OPENVINO_FP32)
    threshold = bundle.operating_point(None).threshold
    return {
        "reference": OPENVINO_FP32,
        "images": len(examples.rows),
        "others": {
            name: {
                "max_probability_difference": float(np.abs(other_N - reference_N).max()),
                "labels_changed": int(np.sum((other_N >= threshold) != (reference_N >= threshold))),
            }
            for name, other_N in probability.items()
        },
    }


def figures(
    examples: Examples,
    probability_N: Values,
    points: Mapping[str, OperatingPoint],
    *,
    default_point: str,
) -> dict[str, Any]:
    """Discrimination, operating points and calibration, with 95 % intervals, as a JSON object.

    Args:
        examples: what was scored.
        probability_N: calibrated, in the order of `examples.rows`.
        points: thresholds chosen elsewhere.
        default_point: the one that regions are counted at.
    """
    label_N = examples.label_N
    at_points = {
        name: accuracy(label_N, probability_N, threshold=at.threshold) for name, at in points.items()
    }
    return {
        **counts(examples),
        "auroc": asdict(auroc(label_N, probability_N)),
        "operating_points": {name: asdict(at) for name, at in at_points.items()},
        "expected_calibration_error": expected_calibration_error(label_N, probability_N),
        "brier": brier(label_N, probability_N),
        "regions": _regions(examples, probability_N, points[default_point].threshold),
    }


def counts(examples: Examples) -> dict[str, int]:
    """How many images, fractures and groups."""
    return {
        "images": len(examples.rows),
        "fractured": examples.num_fractured,
        "groups": examples.num_groups,
    }


def _regions(examples: Examples, probability_N: Values, threshold: float) -> dict[str, Any]:
    """Figures of each region with enough images of both labels."""
    label_N = examples.label_N
    region_N = np.array([row.region for row in examples.rows])
    found = {}
    for region in sorted(set(region_N) - {""}):
        at_N = region_N == region
        label_R, probability_R = label_N[at_N], probability_N[at_N]
        if min(label_R.sum(), len(label_R) - label_R.sum()) < _ENOUGH:
            continue
        at = accuracy(label_R, probability_R, threshold=threshold)
        found[str(region)] = {
            "images": len(label_R),
            "fractured": int(label_R.sum()),
            "auroc": asdict(auroc(label_R, probability_R)),
            "sensitivity": asdict(at.sensitivity),
            "specificity": asdict(at.specificity),
        }
    return found
