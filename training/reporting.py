"""The one place of a training that scores the reporting half, after everything has been chosen.

`bundle.json` says when, and the digest of what had been chosen by then. `chosen_sha256` of the finished
bundle must give the same digest: that shows that nothing was changed afterwards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batch_fracture.bundle import Bundle
from batch_fracture.engines import FASTER, OPENVINO_FP32, TOLERANCE, TORCH_FP32, runs_here
from batch_fracture.errors import BundleError
from training.evaluate import Values, compare_engines, engine_logits
from training.figures import Scored, figures, scored
from training.inputs import Examples
from training.report import folder_beside, seen, write_report
from training.score_table import score_table

_NOT_CHOSEN = ("evaluation", "training", "files", "format")
"""Fields of bundle.json that change no answer; the files count without the card."""
_COMPARED = 3_000
"""Training images that engines are compared on, at the most, shared by the networks of a bundle: torch reads
some twenty a second with one."""


@dataclass(frozen=True, kw_only=True)
class Reported:
    """What was found."""

    evaluation: dict[str, Any]
    """The field of bundle.json."""
    scored: Scored
    """The reporting half."""
    logit_N: Values  # noqa: N815 - a shape suffix


def report_once(
    bundle: Bundle, train: Examples, calibration: Examples, reporting: Examples, *, out: Path
) -> Reported:
    """Score the reporting half, and compare the engines on all other images.

    Args:
        bundle: with the weights, calibration and operating points that will ship.
        train: only shows what engines change; of more than `_COMPARED` images, so many are taken.
        calibration: what those were chosen on; its figures are there to be compared.
        reporting: seen by nothing before this.
        out: where an older bundle may be; if just the same was chosen there, its time stands.

    Raises:
        BundleError: the engines differ by more than `engines.TOLERANCE`.
    """
    halves = {"reporting": reporting, "calibration": calibration}
    logits = {half: engine_logits(bundle, OPENVINO_FP32, at) for half, at in halves.items()}
    measured = {half: scored(bundle, at, logits[half]) for half, at in halves.items()}
    evaluation: dict[str, Any] = {half: figures(of) for half, of in measured.items()}
    shown = calibration.also(_some_of(train, at_most=_COMPARED // len(bundle.networks)))
    names = (OPENVINO_FP32, TORCH_FP32, *(name for name in FASTER if runs_here(name)))
    evaluation["engines"] = compare_engines(
        bundle, shown.label_N, {name: engine_logits(bundle, name, shown) for name in names}
    )
    worst = evaluation["engines"]["others"][TORCH_FP32]["max_probability_difference"]
    if worst > TOLERANCE:
        raise BundleError(
            f"engine {TORCH_FP32} differs from {OPENVINO_FP32} by {worst:.4f} in probability, and "
            f"{TOLERANCE} is allowed: the graph is not the network that was trained"
        )
    chosen = chosen_sha256(bundle.manifest)
    evaluation["reporting_scored"] = {"at": _first_scored(out, chosen), "chosen_sha256": chosen}
    return Reported(evaluation=evaluation, scored=measured["reporting"], logit_N=logits["reporting"])


def _some_of(examples: Examples, *, at_most: int) -> Examples:
    """So many rows, evenly of all."""
    step = -(-len(examples.rows) // at_most)
    return examples.only(examples.rows[::step])


def write_beside(out: Path, found: Reported, reporting: Examples) -> None:
    """Curves, scores and the worst errors, in `report.folder_beside(out)`.

    Args:
        out: the bundle.
        found: of `report_once`.
        reporting: what that was given.

    Raises:
        ConfigError: the folder cannot be written.
    """
    write_report(
        folder_beside(out),
        found.scored,
        found.evaluation["reporting"],
        scores=score_table(reporting, found.logit_N),
        pixels=seen(found.scored, reporting),
        title=f"{out.name}, reporting part",
    )


def chosen_sha256(manifest: Mapping[str, Any]) -> str:
    """sha256 (hex) over what a bundle answers with: network, input, calibration, operating points.

    Args:
        manifest: bundle.json.
    """
    files = {name: digest for name, digest in manifest["files"].items() if name != "MODEL_CARD.md"}
    chosen = {"files": files, **{key: manifest[key] for key in manifest if key not in _NOT_CHOSEN}}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


def _first_scored(out: Path, chosen: str) -> str:
    """Now, UTC; for a bundle that is only written again, when it was first scored: its digest stays."""
    try:
        earlier = json.loads((out / "bundle.json").read_bytes())["evaluation"]["reporting_scored"]
        if earlier["chosen_sha256"] == chosen:
            return str(earlier["at"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # there is none, or none that says so
    return datetime.now(UTC).isoformat(timespec="seconds")
