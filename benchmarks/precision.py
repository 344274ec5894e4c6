"""What each engine costs in answers, and what it gains in speed, on one bundle.

    python -m benchmarks.precision [--model fracatlas-evidence] [--labels runs/fracatlas.csv] [--png FILE]

Every labelled image is decoded once; the engines of this machine take turns on the same inputs, one thread
each. Compared with openvino-fp32: labels that change at the default operating point, probabilities, AUROC.
The second table compares all with openvino-fp32 on images that were decoded whole, and not at the scale
that is enough: engine and decoding together, as runs have them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from batch_fracture import decode, engines
from batch_fracture.bundle import Bundle, open_bundle
from batch_fracture.errors import ConfigError
from batch_fracture.preprocess import letterbox
from benchmarks import measuring
from training.contents import read_image
from training.evaluate import compare_engines, logits_of
from training.inputs import decode_images
from training.labels import LabelledImage, read_labels

_TIMED = 256


def main() -> None:
    """Measure, print the table, draw the frontier."""
    options = _options()
    machine = measuring.machine()
    print(measuring.machine_line(machine))
    bundle = open_bundle(options.model)
    rows = read_labels(options.labels, options.images)
    pixels_NSS = decode_images(options.labels, rows, bundle.input).pixels_NSS
    opened = dict(_opened(bundle, options.engines.split(",")))
    logits = {name: logits_of(engine, pixels_NSS) for name, engine in opened.items()}
    rates = _rates(opened, pixels_NSS, options.repeats)
    label_N = np.array([row.label for row in rows], np.float32)
    found = compare_engines(bundle, label_N, logits)["others"]
    print(f"\n{bundle.name} at {bundle.input.size}, {len(rows):,} radiographs, one thread")
    _show(found, rates, len(rows))
    whole = logits_of(opened[engines.OPENVINO_FP32], _decoded_whole(rows, bundle))
    scaled = {f"{name}, scaled": values for name, values in logits.items()}
    together = compare_engines(bundle, label_N, {engines.OPENVINO_FP32: whole, **scaled})["others"]
    print("\nAgainst the reference on images that were decoded whole")
    _show(together, rates, len(rows))
    measuring.save(
        options.json,
        {
            "machine": machine,
            "bundle": bundle.digest,
            "found": found,
            "against_whole": together,
            "rates": rates,
        },
    )
    if options.png:
        _draw(found, rates, len(rows), options.png)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Answers and speed of every engine.")
    shared = measuring.ROOT.parent / "shared" / "radiographs"
    parser.add_argument("--model", default="fracatlas-evidence")
    parser.add_argument("--labels", type=Path, default=Path("runs/fracatlas.csv"))
    parser.add_argument("--images", type=Path, default=shared)
    parser.add_argument(
        "--engines", default=",".join(engines.NAMES), help="beside openvino-fp32, the reference"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="takes all figures")
    parser.add_argument("--png", type=Path, help="takes the picture of the frontier")
    return parser.parse_args()


def _opened(bundle: Bundle, wanted: list[str]) -> list[tuple[str, engines.Engine]]:
    """The wanted engines that run here, the reference first."""
    found = []
    for name in (engines.OPENVINO_FP32, *(name for name in wanted if name != engines.OPENVINO_FP32)):
        try:
            found.append((name, engines.open_engine(name, bundle, num_threads=1)))
        except ConfigError as error:
            print(f"left out: {error}")
    return found


def _rates(
    opened: dict[str, engines.Engine], pixels_NSS: npt.NDArray[np.uint8], repeats: int
) -> dict[str, list[float]]:
    """Images per second, in turns."""
    rates: dict[str, list[float]] = {name: [] for name in opened}
    for _ in range(repeats):
        for name, engine in opened.items():
            began_s = time.perf_counter()
            logits_of(engine, pixels_NSS[:_TIMED])
            rates[name].append(min(_TIMED, len(pixels_NSS)) / (time.perf_counter() - began_s))
    return rates


def _decoded_whole(rows: list[LabelledImage], bundle: Bundle) -> npt.NDArray[np.uint8]:
    inputs = []
    for row in rows:
        content, header = read_image(row)
        inputs.append(letterbox(decode.read_grey(content, header, min_long_side=1 << 20), bundle.input))
    return np.stack(inputs)


def _show(found: dict[str, Any], rates: dict[str, list[float]], num_images: int) -> None:
    reference = statistics.median(rates[engines.OPENVINO_FP32])
    table: list[list[object]] = [[engines.OPENVINO_FP32, reference, 1.0, 0, "0 %", 0.0, 0.0, 0.0]]
    for name, other in found.items():
        speed = statistics.median(rates[name]) if name in rates else None
        table.append(
            [
                name,
                speed if speed is not None else "",
                speed / reference if speed is not None else "",
                other["labels_changed"],
                f"{other['labels_changed'] / num_images:.2%}",
                f"{other['mean_probability_difference']:.4f}",
                f"{other['max_probability_difference']:.3f}",
                f"{other['auroc_change']:+.4f}",
            ]
        )
    header = ["engine", "images/s", "of fp32", "labels changed", "share", "mean change", "largest", "AUROC"]
    measuring.show(header, table)


def _draw(found: dict[str, Any], rates: dict[str, list[float]], num_images: int, path: Path) -> None:
    import matplotlib.pyplot as plt  # noqa: PLC0415 - seconds to import

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, values in rates.items():
        share = 100 * found[name]["labels_changed"] / num_images if name in found else 0.0
        at = (statistics.median(values), share)
        axes.plot(*at, "o", color="#1b5e8c")
        axes.annotate(name, at, textcoords="offset points", xytext=(6, 5), fontsize=9)
    axes.axhline(100 * engines.MAX_FLIPPED, color="#b03a2e", linestyle="--", linewidth=1)
    axes.set(
        xlabel="images/s, one thread", ylabel="labels changed against fp32, %", title="Speed and answers"
    )
    axes.margins(x=0.3, y=0.15)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
