"""ROC, precision-recall and reliability curves, 900 pixels wide; no picture of a patient is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from batch_fracture.curves import curve, reliability
from batch_fracture.statistics import Proportion, wilson
from training.figures import Scored, in_words

_DPI = 100
_SIDE = 9.0
"""Inches: 900 pixels wide."""
_LINE, _CHANCE = "#0072b2", "#777777"
_POINTS = ("#d55e00", "#009e73", "#cc79a7", "#e69f00")
"""Colours that remain different to the colour-blind: M. Okabe, K. Ito, "Color Universal Design", 2008."""
_MARKERS = "o^sD"


def roc_figure(of: Scored, found: Mapping[str, Any], title: str) -> Figure:
    """Sensitivity against 1 - specificity, operating points with Wilson's intervals both ways.

    Args:
        of: what was measured.
        found: its `figures`.
        title: what was measured, for people.
    """
    figure, axes = _square(f"ROC: {title}\n{_counted(found)}")
    drawn = curve(of.label_N, of.probability_N)
    by_group, delong = in_words(found["auroc_by_group"]), in_words(found["auroc"])
    label = f"AUROC {delong} by DeLong, {by_group.partition(' ')[2]} by group"
    axes.plot(drawn.false_positive_rate_T, drawn.sensitivity_T, color=_LINE, label=label)
    axes.plot([0, 1], [0, 1], color=_CHANCE, linestyle=":", label="chance")
    for number, (name, at) in enumerate(found["operating_points"].items()):
        sensitivity, specificity = at["sensitivity"], at["specificity"]
        label = f"{name}: sensitivity {in_words(sensitivity)}, specificity {in_words(specificity)}"
        fall_out = {
            "value": 1 - specificity["value"],
            "low": 1 - specificity["high"],
            "high": 1 - specificity["low"],
        }
        _point(axes, number, fall_out, sensitivity, label)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity")
    return _with_legend(figure, axes)


def precision_recall_figure(of: Scored, found: Mapping[str, Any], title: str) -> Figure:
    """Precision against sensitivity (recall), in steps; arguments as `roc_figure`."""
    figure, axes = _square(f"Precision and recall: {title}\n{_counted(found)}")
    drawn = curve(of.label_N, of.probability_N)
    label = f"average precision {in_words(found['average_precision'])} by group"
    # Where nothing is called there is no precision: the line begins at that of the first call.
    precision_T = np.concatenate([drawn.precision_T[1:2], drawn.precision_T[1:]])
    axes.step(drawn.sensitivity_T, precision_T, where="pre", color=_LINE, label=label)
    share = found["fractured"] / found["images"]
    axes.axhline(share, color=_CHANCE, linestyle=":", label=f"chance: {share:.3f} are fractured")
    for number, (name, at) in enumerate(found["operating_points"].items()):
        precision = _precision(at)
        if precision.total:
            shown = {"value": precision.value, "low": precision.low, "high": precision.high}
            label = f"{name}: recall {in_words(at['sensitivity'])}, precision {in_words(shown)}"
            _point(axes, number, at["sensitivity"], shown, label)
    axes.set(xlabel="recall (sensitivity)", ylabel="precision (positive predictive value)")
    return _with_legend(figure, axes)


def reliability_figure(of: Scored, found: Mapping[str, Any], title: str) -> Figure:
    """Observed share against probability with Wilson's intervals, over a histogram.

    Arguments as `roc_figure`.
    """
    figure = Figure(figsize=(_SIDE, _SIDE + 1.5), dpi=_DPI, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    above.set_title(f"Reliability: {title}\n{_counted(found)}", parse_math=False)
    above.plot([0, 1], [0, 1], color=_CHANCE, linestyle=":", label="exactly right")
    shown = reliability(of.label_N, of.probability_N)
    error = found["expected_calibration_error"]
    label = (
        f"expected calibration error {in_words(error)}; chance alone makes {error['by_chance']:.3f}\n"
        f"Brier score {in_words(found['brier'])}\nbars: 95 % of Wilson; numbers: fractured / images"
    )
    share = [at.observed.value for at in shown]
    bars = [
        [at.observed.value - at.observed.low for at in shown],
        [at.observed.high - at.observed.value for at in shown],
    ]
    predicted = [at.predicted for at in shown]
    above.errorbar(predicted, share, bars, color=_LINE, marker="o", capsize=4, label=label)
    for at in shown:
        text = f"{at.observed.count}/{at.observed.total}"
        above.annotate(
            text, (at.predicted, at.observed.value), (7, -13), textcoords="offset points", fontsize=9
        )
    above.set(ylabel="observed share of fractures", xlim=(0, 1), ylim=(-0.02, 1.02))
    above.grid(alpha=0.25)
    groups = [of.probability_N[of.label_N == label] for label in (0, 1)]
    edges = np.linspace(0, 1, 21).tolist()
    below.hist(groups, edges, stacked=True, color=["#bbbbbb", _POINTS[0]], label=["no fracture", "fracture"])
    below.set(xlabel="calibrated probability", ylabel="images")
    below.legend(loc="upper right", fontsize=10)
    return _with_legend(figure, above)


def _square(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_SIDE, _SIDE + 1.5), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, parse_math=False)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.grid(alpha=0.25)
    return figure, axes


def _point(axes: Axes, number: int, across: Mapping[str, Any], up: Mapping[str, Any], label: str) -> None:
    """An operating point with its intervals."""
    colour = _POINTS[number % len(_POINTS)]
    bars = [
        [[at["value"] - at["low"]], [at["high"] - at["value"]]]  # from the point down, and up
        for at in (across, up)
    ]
    axes.errorbar(
        across["value"],
        up["value"],
        xerr=bars[0],
        yerr=bars[1],
        color=colour,
        marker=_MARKERS[number % len(_MARKERS)],
        linestyle="none",
        markersize=8,
        capsize=3,
        zorder=3,
        label=label,
    )


def _precision(at: Mapping[str, Any]) -> Proportion:
    """Share of the called images that are fractured."""
    right, specificity = at["sensitivity"]["count"], at["specificity"]
    return wilson(right, right + specificity["total"] - specificity["count"])


def _with_legend(figure: Figure, axes: Axes) -> Figure:
    """Below, where it hides nothing."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", fontsize=10)
    return figure


def _counted(found: Mapping[str, Any]) -> str:
    return (
        f"{found['images']:,} images, {found['fractured']:,} fractured, {found['groups']:,} groups; "
        "intervals are 95 %"
    )
