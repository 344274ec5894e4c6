"""Radiographs per second and core, by transfer syntax: ours against plain pydicom.

From the bytes of a DICOM object of 2500 x 2048 pixels to the model's input of 256, both sides in turns on
one core, each a process of its own:

    python -m benchmarks.dicom_speed [--syntaxes TEXT] [--passes 7] [--core N] [--json FILE]

Ours is `decode.read_header` and `preprocess.read_input`: window, proofs and letterbox included. The peer is
`dcmread`, `.pixel_array`, lowest to highest value in 8 bits, and Pillow's `resize`; pydicom decodes by
pylibjpeg, in an environment that the benchmark makes for itself, for one of its plugins is GPL. Two more show
what the header's window adds (`windowed`), and Pillow as the decoder (`pillow`). Goals: 1.5 times the peer on
lossless JPEG and JPEG 2000, 4 times on baseline JPEG. The main figure is CPU time, for others may be at work.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pydicom import uid

from benchmarks import measuring
from benchmarks.dicom_files import SYNTAXES, Syntax, drawn

PINNED = (
    "pydicom==3.0.2",
    "numpy==2.4.6",
    "pillow==13.0.0",
    "pylibjpeg==2.1.0",
    "pylibjpeg-libjpeg==2.5.0",
    "pylibjpeg-openjpeg==2.6.0",
    "pylibjpeg-rle==2.2.0",
)
PEERS = ("peer", "windowed", "pillow")
ONLY = {
    "pillow": (uid.JPEGBaseline8Bit, uid.JPEG2000Lossless, uid.JPEG2000),
    "whole": (uid.JPEGBaseline8Bit, uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless),
}
"""What Pillow can decode; what we decode at reduced resolution, and here also whole."""
GOALS = {
    uid.JPEGBaseline8Bit: 4.0,
    uid.JPEGLossless: 1.5,
    uid.JPEGLosslessSV1: 1.5,
    uid.JPEG2000Lossless: 1.5,
    uid.JPEG2000: 1.5,
}
"""How often as fast as the peer."""
SKIPPED_MODALITY = "CT"


def main() -> None:
    """Measure every syntax, and what an object costs that is skipped; print both tables."""
    options = _options()
    options.cache.mkdir(parents=True, exist_ok=True)
    machine = measuring.machine()
    print(measuring.machine_line(machine))
    ours = dict.fromkeys(("ours", "whole"), Path(sys.executable))
    interpreters = ours | dict.fromkeys(PEERS, _peer_python(options.cache))
    chosen = [syntax for syntax in SYNTAXES if options.syntaxes in syntax.name]
    files = {syntax: drawn(options.cache, syntax) for syntax in chosen}
    skipped = {syntax: drawn(options.cache, syntax, modality=SKIPPED_MODALITY) for syntax in chosen}
    with contextlib.ExitStack() as stack:
        sides = {
            name: stack.enter_context(_side(python, name, options.core))
            for name, python in interpreters.items()
        }
        found = [_measure(syntax, files[syntax], sides, options.passes) for syntax in chosen]
        alone = {"ours": sides["ours"]}
        refused = [_measure(syntax, skipped[syntax], alone, options.passes) for syntax in chosen]
    print()
    measuring.show(
        ["transfer syntax", "ours", *PEERS, "ratio", "spread", "goal"], [_row(one) for one in found]
    )
    print(
        "\nImages per second of CPU time on one core. Milliseconds of one image: read whole, as it is read,"
    )
    print("and skipped for its modality:\n")
    measuring.show(["transfer syntax", "whole", "read", "skipped"], _costs(found, refused))
    measuring.save(options.json, {"machine": machine, "read": found, "skipped": refused})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed of reading DICOM, by transfer syntax.")
    parser.add_argument("--syntaxes", default="", help="only those whose name holds this text")
    parser.add_argument("--passes", type=int, default=7)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    cache = Path(tempfile.gettempdir()) / "bf-bench-dicom"
    parser.add_argument("--cache", type=Path, default=cache, help="keeps pictures and the peer's environment")
    parser.add_argument("--json", type=Path, help="takes all figures")
    return parser.parse_args()


def _peer_python(cache: Path) -> Path:
    """The interpreter of the peer's environment, made once for these versions."""
    folder = cache / "peer"
    python, mark = folder / "bin" / "python", folder / "pinned.txt"
    if not mark.exists() or mark.read_text() != "\n".join(PINNED):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PINNED], check=True)
        mark.write_text("\n".join(PINNED))
    return python


@contextlib.contextmanager
def _side(python: Path, name: str, core: int) -> Iterator[subprocess.Popen[str]]:
    """A process of one side."""
    command = [str(python), "-m", "benchmarks.dicom_side", name, str(core)]
    with subprocess.Popen(
        command, cwd=measuring.ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process
        _pipe(process.stdin).close()


def _measure(
    syntax: Syntax, files: list[Path], sides: dict[str, subprocess.Popen[str]], passes: int
) -> dict[str, Any]:
    """All passes of one syntax, the sides in turns; the first pass warms up, and is left out."""
    question = json.dumps([str(path) for path in files]) + "\n"
    turns = {name: side for name, side in sides.items() if syntax.uid in ONLY.get(name, (syntax.uid,))}
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in turns}
    for _ in range(passes + 1):
        for name, process in turns.items():
            _pipe(process.stdin).write(question)
            _pipe(process.stdin).flush()
            answers[name].append(json.loads(_pipe(process.stdout).readline()))
    found: dict[str, Any] = {"syntax": syntax.name, "uid": syntax.uid, "files": len(files)}
    for name, timed in answers.items():
        errors = [one["error"] for one in timed if "error" in one]
        found[name] = {"error": errors[0]} if errors else _summary(timed[1:], len(files))
    shown = {name: round(found[name].get("cpu_ms", 0.0), 2) for name in turns}
    print(f"{syntax.name}: ms per image {shown}", flush=True)
    return found


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _summary(timed: list[dict[str, float]], images: int) -> dict[str, Any]:
    cpu_ms = sorted(one["cpu_s"] / images * 1e3 for one in timed)
    wall_ms = sorted(one["wall_s"] / images * 1e3 for one in timed)
    return {
        "cpu_ms": statistics.median(cpu_ms),
        "wall_ms": statistics.median(wall_ms),
        "spread": cpu_ms[-1] / cpu_ms[0] - 1.0,
        "all_cpu_ms": cpu_ms,
    }


def _row(one: dict[str, Any]) -> list[object]:
    rates = [
        1e3 / one[side]["cpu_ms"] if "cpu_ms" in one.get(side, {}) else None for side in ("ours", *PEERS)
    ]
    ratio = rates[0] / rates[1] if rates[0] and rates[1] else None
    goal = GOALS.get(one["uid"])
    verdict = "" if goal is None or ratio is None else f"{goal:g} {'met' if ratio >= goal else 'missed'}"
    spread = max(one[side].get("spread", 0.0) for side in ("ours", "peer"))
    shown = [f"{rate:.1f}" if rate else "" for rate in rates]
    return [one["syntax"], *shown, f"{ratio:.1f}" if ratio else "", f"{spread:.0%}", verdict]


def _costs(found: list[dict[str, Any]], refused: list[dict[str, Any]]) -> list[list[object]]:
    rows: list[list[object]] = []
    for one, refusal in zip(found, refused, strict=True):
        whole_ms = one.get("whole", {}).get("cpu_ms", "")
        rows.append([one["syntax"], whole_ms, one["ours"]["cpu_ms"], refusal["ours"]["cpu_ms"]])
    return rows


if __name__ == "__main__":
    main()
