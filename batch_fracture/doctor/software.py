"""Versions, the engine that a run would take, and the bundles that ship with the package."""

from __future__ import annotations

import platform
import time
from importlib import metadata

from batch_fracture import __version__, bundle, engines
from batch_fracture.doctor.check import Check, bad, good, note
from batch_fracture.doctor.machine import gpu_names
from batch_fracture.errors import BatchFractureError

NEEDED = ("ray", "openvino", "pyarrow", "deltalake", "duckdb", "numpy", "pillow", "pydicom", "simplejpeg")
FOR_GPUS = ("torch", "timm", "safetensors")
_GPU_REMEDY = f"pip install 'batch-fracture[gpu]', or --engine {engines.OPENVINO_FP32}"


def version(package: str) -> str | None:
    """Of an installed distribution; nothing is imported."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions() -> list[Check]:
    """This package, Python, and what a run imports."""
    checks = [
        good("batch-fracture", __version__),
        good("python", f"{platform.python_version()} on {platform.platform()}"),
    ]
    for package in NEEDED:
        found = version(package)
        remedy = "pip install batch-fracture"
        checks.append(good(package, found) if found else bad(package, "not installed", remedy))
    return checks + [
        note(package, version(package) or "not installed (only GPUs need it)") for package in FOR_GPUS
    ]


def engine() -> list[Check]:
    """Which engine a run takes by itself; the one for CPUs also reads one blank image."""
    shipped = bundle.open_bundle(bundle.DEFAULT) if bundle.DEFAULT in bundle.shipped_names() else None
    name = engines.choose(None, shipped, num_gpus=len(gpu_names()))
    missing = [package for package in FOR_GPUS if version(package) is None]
    if name == engines.TORCH_FP32 and missing:
        return [bad("engine", f"{name}, but {', '.join(missing)} is not installed", _GPU_REMEDY)]
    checks = [good("engine", name)]
    if shipped and not engines.on_gpu(name):
        checks.append(_try_engine(name, shipped))
    return checks


def _try_engine(name: str, model: bundle.Bundle) -> Check:
    import numpy as np  # noqa: PLC0415 - only here

    started_s = time.perf_counter()
    engine = engines.open_engine(name, model, num_threads=1)
    opened_s = time.perf_counter()
    logit = float(engine(np.zeros((1, model.input.size, model.input.size), np.uint8))[0])
    read_s = time.perf_counter()
    if not np.isfinite(logit):
        return bad("engine test", f"a blank image gives the logit {logit}", "reinstall openvino")
    value = f"opens in {opened_s - started_s:.1f} s, reads an image in {1e3 * (read_s - opened_s):.0f} ms"
    return good("engine test", value)


def bundles() -> list[Check]:
    """Every digest of every bundle that ships with the package."""
    checks = []
    for name in sorted({bundle.DEFAULT, *bundle.shipped_names()}):
        try:
            found = bundle.open_bundle(name)
        except BatchFractureError as error:
            remedy = "reinstall batch-fracture, or name a bundle's directory with --model"
            checks.append(bad(f"bundle {name}", str(error), remedy))
        else:
            networks = " and ".join(network.architecture for network in found.networks)
            value = f"{networks} at {found.input.size}, digest {found.digest[:12]}, verified"
            checks.append(good(f"bundle {name}", value))
    return checks
