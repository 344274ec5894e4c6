"""MODEL_CARD.md, written from bundle.json's own fields, so that the two cannot disagree."""

from __future__ import annotations

from collections.abc import Sequence

from training.card_figures import Fields, bullets, counted, measured

_HEAD = """\
# {name}

Tells radiographs of bones with a visible fracture from those without: one calibrated probability for each
image{location}.

- {networks} (timm), {outputs}.
- Input: grey, {size} x {size}, letterboxed, uint8; normalisation is part of the graph.{looks}
- Output: a logit; probability = sigmoid({slope:.4f} x logit {intercept:+.4f}).

## What it is for

Retrospective quality audits of archives: finding reads worth a second look, and counting with known error.
**It is not for diagnosis**, it is no medical device, and no one has approved it as one. A probability below a
threshold does not show that a bone is whole.

The default operating point is `{point}`. Where fractures are much rarer or more frequent than in the images
below, probabilities and predictive values are wrong even if sensitivity and specificity hold."""

_HEADS = {
    "pooled": {"location": ", no location", "outputs": "one output"},
    "evidence": {
        "location": ", and a map of the evidence for it",
        "outputs": "a logit for each 16 x 16 pixels, pooled to one",
    },
}

_TRAINING = """\
## Training

- Images: {source}, {train}.
- Start: {initial_weights}.
- Recipe: {epochs} epochs of AdamW (peak {learning_rate:g}, weight decay {weight_decay:g}), batches of \
{batch_size}, linear warm-up then half a cosine, {precision} activations, a fractured image's loss weighted \
{positive_weight:g}; flips, small affine maps and changes of light; running average of the weights \
({ema_decay:g} a step). {epoch_taken}{soup}{ensemble}
- Cost: {minutes:.0f} minutes on {machine}.
- Again: `{command}`
- Code: batch-fracture {code_version}, sha256 `{code_sha256:.16}`; labels sha256 `{labels_sha256:.16}`."""

_LOOKS = {
    (True, False): "the mirror image too",
    (False, True): "the middle too, enlarged",
    (True, True): "the middle too, enlarged, and at the mirror images of both",
}
"""What a bundle looks at besides the image, by `mirror` and `closer`."""
_EPOCH = "Epoch {epoch} was taken: its AUROC on the calibration half was the highest."
_LAST_EPOCH = "The last epoch was taken as it was; none was chosen."

_ENSEMBLE = " So was each network; of their own, the others had {shown}."
_SOUP = " The weights are the mean of {number} such trainings; the others had {shown}."

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
        networks=_networks(fields),
        size=size,
        looks=_looks(fields),
        point=fields["default_operating_point"],
        **_HEADS[fields.get("head", "pooled")],
        **fields["calibration"],
    )
    limits = _LIMITS.format(size=size, limits=bullets(source["limits"]))
    licence = _LICENCE.format(initial_weights=training["initial_weights"], **source)
    found = measured(fields) if "evaluation" in fields else ["Nothing has been measured yet."]
    return "\n\n".join([head, *found, _trained(training), limits, licence]) + "\n"


def _trained(training: Fields) -> str:
    return _TRAINING.format(
        **{
            **training["recipe"],
            **training,
            "source": training["source"]["name"],
            "train": counted(training["counts"]["train"]),
            "soup": _soup(training["recipe"].get("soup", ())),
            "ensemble": _ensemble(training["recipe"].get("ensemble", ())),
            "epoch_taken": _EPOCH.format(**training) if _was_chosen(training) else _LAST_EPOCH,
        }
    )


def _networks(fields: Fields) -> str:
    """What answers."""
    others = fields.get("others", ())
    if not others:
        return f"Network: `{fields['architecture']}`"
    sized = [(fields["architecture"], fields["input"]["size"])]
    sized += [(other["architecture"], other["input_size"]) for other in others]
    shown = ", ".join(f"`{name}` at {size} x {size}" for name, size in sized)
    return f"Networks, whose answers are averaged: {shown}"


def _looks(fields: Fields) -> str:
    """What each answer is the mean of."""
    looks = _LOOKS.get((fields.get("mirror", False), fields.get("closer", False)))
    return f" It looks at {looks}: every answer is the mean over all." if looks else ""


def _ensemble(others: Sequence[Fields]) -> str:
    """What the further networks had of their own."""
    return _ENSEMBLE.format(shown="; ".join(map(_shown, others))) if others else ""


def _soup(others: Sequence[Fields]) -> str:
    """What the further trainings had of their own."""
    return _SOUP.format(number=len(others) + 1, shown="; ".join(map(_shown, others))) if others else ""


def _shown(table: Fields) -> str:
    return ", ".join(
        _shown(value) if isinstance(value, dict) else f"{key} {value}" for key, value in table.items()
    )


def _was_chosen(training: Fields) -> bool:
    """Whether an epoch was; the first bundles do not say, and had none."""
    return "epoch" in training and training["recipe"].get("choose_epoch", "best") == "best"
