"""One side of `dicom_speed`, a process of its own: it reads files as it is told, and times itself.

    python -m benchmarks.dicom_side ours|whole|peer|windowed|pillow CORE

A line of standard input is a JSON list of paths; the answer is a JSON object with the seconds that reading
them took. `peer` is what ten lines of pydicom do; `windowed` and `pillow` are the same with the header's
window, and with Pillow as the decoder. All three run in an environment that holds nothing of ours.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

SIZE = 256
Read = Callable[[bytes], object]


def main() -> None:
    """Answer until standard input ends."""
    read = {
        "ours": _ours,
        "whole": lambda: _ours(whole=True),
        "peer": _peer,
        "windowed": _windowed,
        "pillow": lambda: _peer("pillow"),
    }[sys.argv[1]]()
    os.sched_setaffinity(0, {int(sys.argv[2])})
    for line in sys.stdin:
        contents = [Path(path).read_bytes() for path in json.loads(line)]
        try:
            answer = _timed(read, contents)
        except Exception as error:  # noqa: BLE001 - that it cannot read a syntax is a result
            answer = {"error": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(answer), flush=True)


def _timed(read: Read, contents: list[bytes]) -> dict[str, float]:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for content in contents:
        read(content)
    return {"cpu_s": time.process_time() - cpu_s, "wall_s": time.perf_counter() - wall_s}


def _ours(*, whole: bool = False) -> Read:
    """From bytes to the model's input, or to the refusal; `whole` lets no frame come reduced."""
    from batch_fracture import decode  # noqa: PLC0415 - the peer's environment has no such package
    from batch_fracture.errors import ImageError  # noqa: PLC0415
    from batch_fracture.preprocess import InputSpec, letterbox, read_input  # noqa: PLC0415
    from batch_fracture.settings import ReadingSettings  # noqa: PLC0415

    spec, settings = InputSpec(size=SIZE), ReadingSettings()

    def read(content: bytes) -> object:
        try:
            header = decode.read_header(content, settings)
        except ImageError as error:
            assert error.code == "NOT_A_RADIOGRAPH", error
            return error
        if whole:
            return letterbox(decode.read_grey(content, header, min_long_side=2**16), spec)
        return read_input(content, header, spec)

    return read


def _peer(plugin: str = "") -> Read:
    import numpy as np  # noqa: PLC0415 - each side imports its own
    import pydicom  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    def read(content: bytes) -> object:
        dataset = pydicom.dcmread(io.BytesIO(content))
        dataset.pixel_array_options(decoding_plugin=plugin)
        stored_HW = dataset.pixel_array
        low, high = stored_HW.min(), stored_HW.max()
        grey_HW = ((stored_HW - low) / (high - low) * 255).astype(np.uint8)
        return np.asarray(Image.fromarray(grey_HW).resize((SIZE, SIZE), Image.Resampling.BILINEAR))

    return read


def _windowed() -> Read:
    import numpy as np  # noqa: PLC0415
    import pydicom  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415
    from pydicom.pixels import apply_modality_lut, apply_voi_lut  # noqa: PLC0415

    def read(content: bytes) -> object:
        dataset = pydicom.dcmread(io.BytesIO(content))
        shown_HW = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
        low, high = shown_HW.min(), shown_HW.max()
        grey_HW = ((shown_HW - low) / (high - low) * 255).astype(np.uint8)
        return np.asarray(Image.fromarray(grey_HW).resize((SIZE, SIZE), Image.Resampling.BILINEAR))

    return read


if __name__ == "__main__":
    main()
