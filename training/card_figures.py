"""The card's figures, as Markdown, from the field `evaluation` of bundle.json.

A bundle that was measured before there was average precision, or an interval by group, has a card without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.figures import in_words

Fields = Mapping[str, Any]

_FIGURES = """\
## Figures

On the {reporting_part}:
{reporting}.
No group of it took part in training, in calibration or in the choice of thresholds ({dealt}). {once}\
Every figure comes from the OpenVINO graph as shipped. {intervals}

{figures}

{points}

Thresholds and calibration come from the {calibration_part}:
{calibration}; AUROC {auroc_calibration}.
What a threshold reached there need not hold elsewhere: compare the columns."""

_ONCE = """\
It was scored once, at {at}, when all of these
had been fixed (sha256 `{chosen_sha256:.16}`). """

_INTERVALS_BY_GROUP = """\
Intervals are 95 %. DeLong's for
AUROC and Wilson's for shares take images as independent, but images of one group resemble each other; all
others take groups as independent."""

_INTERVALS = """\
Intervals are 95 %: DeLong's for AUROC,
Wilson's for shares. They take images as independent; images of one group are not, so the true ones are \
wider."""

_REGIONS = """\
By body region at `{point}`, where there are at least 10 images of either label:

{regions}"""

_ENGINES = """\
## Engines

Against the reference, `{reference}`, on {images:,} images with labels:

{others}"""


def measured(fields: Fields) -> list[str]:
    """Figures, those by region when there are any, and the engines.

    Args:
        fields: of bundle.json.
    """
    evaluation = fields["evaluation"]
    report, chosen = evaluation["reporting"], evaluation["calibration"]
    once = evaluation.get("reporting_scored")
    sections = [
        _FIGURES.format(
            **_parts(fields["training"]["split"]),
            reporting=counted(report),
            calibration=counted(chosen),
            once=_ONCE.format(**once) if once else "",
            intervals=_INTERVALS_BY_GROUP if "auroc_by_group" in report else _INTERVALS,
            figures=bullets(_figures(report)),
            auroc_calibration=in_words(chosen["auroc"]),
            points=_points(report["operating_points"], fields["operating_points"]),
        )
    ]
    if report["regions"]:
        regions = _regions(report["regions"])
        sections.append(_REGIONS.format(point=fields["default_operating_point"], regions=regions))
    others = [
        f"`{name}`: largest difference of probability {other['max_probability_difference']:.1g}, "
        f"{other['labels_changed']} labels changed, AUROC {other['auroc_change']:+.4f}"
        for name, other in evaluation["engines"]["others"].items()
    ]
    sections.append(_ENGINES.format(**{**evaluation["engines"], "others": bullets(others)}))
    return sections


def bullets(lines: Sequence[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def counted(counts: Fields) -> str:
    """Images, fractures and groups in words."""
    return (
        f"{counts['images']:,} images, {counts['fractured']:,} of them fractured, {counts['groups']:,} groups"
    )


def _parts(split: Fields) -> dict[str, str]:
    """What the parts are called, and how they came about."""
    if split.get("reporting") == "test":
        return {
            "reporting_part": "**test images**",
            "calibration_part": "**validation images**",
            "dealt": f"by {split['by']}, as the table of labels has it",
        }
    return {
        "reporting_part": "**reporting half** of the validation images",
        "calibration_part": "**calibration half**",
        "dealt": f"halved by {split['by']}, seed\n{split['seed']}",
    }


def _figures(report: Fields) -> list[str]:
    """What needs no threshold."""
    if "auroc_by_group" not in report:
        error = report["expected_calibration_error"]
        return [
            f"AUROC **{in_words(report['auroc'])}**",
            f"expected calibration error {error:.3f} (10 bins; with so few images, some of it is chance)",
            f"Brier score {report['brier']:.3f}",
        ]
    area, error = report["auroc_by_group"], report["expected_calibration_error"]
    precision, share = report["average_precision"], report["fractured"] / report["images"]
    return [
        f"AUROC **{in_words(report['auroc'])}** (DeLong); by group {area['low']:.3f} to {area['high']:.3f}",
        f"average precision {in_words(precision)}; {share:.3f} of the images are fractured",
        f"expected calibration error {in_words(error)}; on so many images, probabilities that were exactly "
        f"right would show {error['by_chance']:.3f} (10 bins)",
        f"Brier score {in_words(report['brier'])}",
    ]


def _points(measured_at: Fields, chosen: Fields) -> str:
    header = (
        "operating point",
        "threshold",
        "sensitivity",
        "specificity",
        "when chosen: sensitivity, specificity",
    )
    return _table(
        header,
        [
            (
                name,
                f"{at['threshold']:.4f}",
                _share(at["sensitivity"]),
                _share(at["specificity"]),
                f"{chosen[name]['sensitivity']:.3f}, {chosen[name]['specificity']:.3f}",
            )
            for name, at in measured_at.items()
        ],
    )


def _regions(regions: Fields) -> str:
    figures = {"AUROC": "auroc"}
    if all("auroc_by_group" in at for at in regions.values()):
        figures = {
            "AUROC, by group": "auroc_by_group",
            "average precision": "average_precision",
            "calibration error": "expected_calibration_error",
            "Brier score": "brier",
        }
    return _table(
        ("region", "images", "fractured", *figures, "sensitivity", "specificity"),
        [
            (
                name,
                str(at["images"]),
                str(at["fractured"]),
                *(in_words(at[figure]) for figure in figures.values()),
                _share(at["sensitivity"]),
                _share(at["specificity"]),
            )
            for name, at in regions.items()
        ],
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(share: Fields) -> str:
    return f"{in_words(share)}, {share['count']}/{share['total']}"
