"""What is installed: the wheel holds the package and its bundle, and the lock pins every dependency."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from batch_fracture import __version__
from batch_fracture.bundle import DEFAULT, FILES

ROOT = Path(__file__).parents[1]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def normal(requirement: str) -> str:
    """The name of a requirement as PEP 503 compares names."""
    name = re.split(r"[\[<>=!~ ;]", requirement)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_wheel_holds_the_package_and_its_bundle_only(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    stem = f"batch_fracture-{__version__}"
    with zipfile.ZipFile(tmp_path / f"{stem}-py3-none-any.whl") as wheel:
        paths = [Path(name) for name in wheel.namelist()]
    assert {path.parts[0] for path in paths} == {"batch_fracture", f"{stem}.dist-info"}
    shipped = {path.name for path in paths if path.parent == Path("batch_fracture", "bundles", DEFAULT)}
    assert shipped == {*FILES, "bundle.json"}
    assert Path(f"{stem}.dist-info", "entry_points.txt") in paths


def test_the_lock_pins_every_dependency_and_names_no_host() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", line) for line in lines)
    pinned = {normal(line.partition("==")[0]) for line in lines}
    extras = dict(PROJECT["project"]["optional-dependencies"])
    assert set(extras) == {"gpu", "train", "mlflow", "dev"}
    del extras["mlflow"]  # 30 packages that nothing here is tested with; the environment does not hold it
    for wanted in (PROJECT["project"]["dependencies"], PROJECT["build-system"]["requires"], *extras.values()):
        assert {normal(one) for one in wanted} - {"batch-fracture"} <= pinned


def test_the_job_needs_no_torch() -> None:
    names = {normal(one) for one in PROJECT["project"]["dependencies"]}
    assert not names & {"torch", "torchvision", "timm", "safetensors"}
