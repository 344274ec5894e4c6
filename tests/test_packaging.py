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


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_wheel_holds_the_package_and_its_bundle_only(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    wheel = tmp_path / f"batch_fracture-{__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {
        "batch_fracture",
        f"batch_fracture-{__version__}.dist-info",
    }
    shipped = {
        name.rpartition("/")[2] for name in names if name.startswith(f"batch_fracture/bundles/{DEFAULT}/")
    }
    assert shipped == {*FILES, "bundle.json"}
    assert any(name.endswith("entry_points.txt") for name in names)


def test_the_lock_pins_every_dependency_and_names_no_host() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", line) for line in lines)
    pinned = {normal(line.partition("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    assert set(extras) == {"gpu", "train", "dev"}
    wanted = [
        *project["project"]["dependencies"],
        *project["build-system"]["requires"],
        *sum(extras.values(), []),
    ]
    names = {normal(re.match(r"[A-Za-z0-9_.-]+", one).group()) for one in wanted} - {"batch-fracture"}
    assert names <= pinned


def test_the_job_needs_no_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {normal(re.match(r"[A-Za-z0-9_.-]+", one).group()) for one in project["dependencies"]}
    assert not names & {"torch", "torchvision", "timm", "safetensors"}
