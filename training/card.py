"""MODEL_CARD.md, written from bundle.json's own fields, so that the two cannot disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Fields = Mapping[str, Any]

_HEAD = """\
# {name}

Tells radiographs of bones with a visible fracture from those without: one calibrated probability for each
image, no location.

- Network: `{architecture}` (timm), one output.
- Input: grey, {size} x {size}, letterboxed, uint8; normalisation is part of the graph.
- Output: a logit; probability = sigmoid({slope:.4f} x logit {intercept:+.4f}).

## What it is for

Retrospective quality audits of archives: finding reads worth a second look, and counting with known error.
**It is not for diagnosis**, it is no medical device, and no one has approved it as one. A probability below a
threshold does not show that a bone is whole.

The default operating point is `{point}`. Where fractures are much rarer or more frequent than in the images
below, probabilities and predictive values are wrong even if sensitivity and specificity hold."""

_FIGURES = """\
## Figures

On the {reporting_part}:
{reporting}.
No group of it took part in training, in calibration or in the choice of thresholds ({dealt}). \
Every figure comes from the OpenVINO graph as shipped. Intervals are 95 %: DeLong's for AUROC,
Wilson's for shares. They take images as independent; images of one group are not, so the true ones are wider.

- AUROC **{auroc}**
- expected calibration error {ece:.3f} (10 bins; with so few images, some of it is chance)
- Brier score {brier:.3f}

{points}

Thresholds and calibration come from the {calibration_part}:
{calibration}; AUROC {auroc_calibration}.
What a threshold reached there need not hold elsewhere: compare the columns."""

_REGIONS = """\
By body region at `{point}`, where there are at least 10 images of either label:

{regions}"""

_ENGINES = """\
## Engines

Against the reference, `{reference}`, on all {images} validation images:

{others}"""

_TRAINING = """\
## Training

- Images: {source}, {train}.
- Start: {initial_weights}.
- Recipe: {epochs} epochs of AdamW (peak {learning_rate:g}, weight decay {weight_decay:g}), batches of \
{batch_size}, linear warm-up then half a cosine, {precision} activations, a fractured image's loss weighted \
{positive_weight:g}; flips, small affine maps and changes of light; running average of the weights \
({ema_decay:g} a step). The last epoch was taken as it was; none was chosen.
- Cost: {minutes:.0f} minutes on {machine}.
- Again: `{command}`
- Code: batch-fracture {code_version}, sha256 `{code_sha256:.16}`; labels sha256 `{labels_sha256:.16}`."""

_LIMITS = """\
## Limits

- Not for diagnosis.
- It sees the whole image at {size} x {size}: a hairline fracture may vanish before it looks.
- It scores whatever it is given, bones and views that it never saw in training too.
{limits}"""

_LICENCE = """\
## Licence

Weights and code: Apache-2.0. The weights were made from these; name them when you pass the weights on:

- images: {name}, {licence}. {citation}
- start: {initial_weights}

No image is part of this bundle."""


def model_card(fields: Fields) -> str:
    """The card as Markdown.

    Args:
        fields: of bundle.json; without `evaluation`, the card says that nothing has been measured yet.
    """
    training = fields["training"]
    size, source = fields["input"]["size"], training["source"]
    head = _HEAD.format(
        name=fields["name"],
        architecture=fields["architecture"],
        size=size,
        point=fields["default_operating_point"],
        **fields["calibration"],
    )
    limits = _LIMITS.format(size=size, limits=_bullets(source["limits"]))
    licence = _LICENCE.format(initial_weights=training["initial_weights"], **source)
    measured = _measured(fields) if "evaluation" in fields else ["Nothing has been measured yet."]
    return "\n\n".join([head, *measured, _trained(training), limits, licence]) + "\n"


def _measured(fields: Fields) -> list[str]:
    """Figures, those by region when there are any, and the engines."""
    report, chosen = fields["evaluation"]["reporting"], fields["evaluation"]["calibration"]
    sections = [
        _FIGURES.format(
            **_parts(fields["training"]["split"]),
            reporting=_counted(report),
            calibration=_counted(chosen),
            auroc=_interval(report["auroc"]),
            auroc_calibration=_interval(chosen["auroc"]),
            ece=report["expected_calibration_error"],
            brier=report["brier"],
            points=_points(report["operating_points"], fields["operating_points"]),
        )
    ]
    if report["regions"]:
        regions = _regions(report["regions"])
        sections.append(_REGIONS.format(point=fields["default_operating_point"], regions=regions))
    engines = fields["evaluation"]["engines"]
    others = [
        f"`{name}`: largest difference of probability {other['max_probability_difference']:.1g}, "
        f"{other['labels_changed']} labels changed"
        for name, other in engines["others"].items()
    ]
    sections.append(_ENGINES.format(**{**engines, "others": _bullets(others)}))
    return sections


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


def _trained(training: Fields) -> str:
    return _TRAINING.format(
        **{
            **training["recipe"],
            **training,
            "source": training["source"]["name"],
            "train": _counted(training["counts"]["train"]),
        }
    )


def _points(measured: Fields, chosen: Fields) -> str:
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
            for name, at in measured.items()
        ],
    )


def _regions(regions: Fields) -> str:
    header = ("region", "images", "fractured", "AUROC", "sensitivity", "specificity")
    return _table(
        header,
        [
            (
                name,
                str(at["images"]),
                str(at["fractured"]),
                _interval(at["auroc"]),
                _share(at["sensitivity"]),
                _share(at["specificity"]),
            )
            for name, at in regions.items()
        ],
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _counted(counts: Fields) -> str:
    return (
        f"{counts['images']:,} images, {counts['fractured']:,} of them fractured, {counts['groups']:,} groups"
    )


def _interval(estimate: Fields) -> str:
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def _share(share: Fields) -> str:
    return f"{_interval(share)}, {share['count']}/{share['total']}"
