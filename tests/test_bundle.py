from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batch_fracture import bundle
from batch_fracture.bundle import FILES, open_bundle
from batch_fracture.calibration import Calibration
from batch_fracture.cli import describe
from batch_fracture.errors import BundleError, ConfigError
from batch_fracture.preprocess import InputSpec

Change = Callable[[dict[str, Any]], object]


def _write(folder: Path, change: Change | None = None) -> Path:
    """A bundle whose model files are arbitrary bytes: only digests and bundle.json matter here."""
    folder.mkdir(exist_ok=True)
    for name in FILES:
        (folder / name).write_bytes(f"the bytes of {name}".encode())
    manifest = {
        "format": 1,
        "name": "arbitrary",
        "architecture": "test_efficientnet",
        "input": {"size": 64},
        "normalisation": {"mean": 0.5, "std": 0.25},
        "calibration": {"slope": 1.5, "intercept": -0.5},
        "operating_points": {
            "balanced": {"threshold": 0.4, "sensitivity": 0.8, "specificity": 0.9},
            "sensitive": {"threshold": 0.2},
        },
        "default_operating_point": "balanced",
        "files": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES},
    }
    if change:
        change(manifest)
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def _refusal(location: Path | str) -> str:
    with pytest.raises(BundleError) as caught:
        open_bundle(str(location))
    return str(caught.value)


def test_an_intact_bundle(tmp_path: Path) -> None:
    folder = _write(tmp_path / "one")
    found = open_bundle(str(folder))
    assert (found.name, found.architecture, found.path) == ("arbitrary", "test_efficientnet", folder)
    assert (found.input, found.mean, found.std) == (InputSpec(size=64), 0.5, 0.25)
    assert found.calibration == Calibration(slope=1.5, intercept=-0.5)
    assert found.digest == hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    assert found.operating_point(None).name == "balanced"


def test_heads(tmp_path: Path) -> None:
    pooled = open_bundle(str(_write(tmp_path / "one")))
    dense = open_bundle(str(_write(tmp_path / "two", lambda manifest: manifest.update(head="evidence"))))
    assert (pooled.head, dense.head, describe(dense)["head"]) == ("pooled", "evidence", "evidence")
    dense.check_evidence()
    with pytest.raises(ConfigError, match="bundle arbitrary has a pooled head, which makes no evidence map"):
        pooled.check_evidence()


def test_the_digest_changes_with_any_file(tmp_path: Path) -> None:
    folder = _write(tmp_path / "one")
    before = open_bundle(str(folder)).digest
    (folder / "model.bin").write_bytes(b"other weights")
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["files"]["model.bin"] = hashlib.sha256(b"other weights").hexdigest()
    (folder / "bundle.json").write_text(json.dumps(manifest))
    assert open_bundle(str(folder)).digest != before


def test_operating_points_by_name_or_number(tmp_path: Path) -> None:
    found = open_bundle(str(_write(tmp_path / "one")))
    assert found.operating_point("sensitive").threshold == 0.2
    assert found.operating_point("balanced").sensitivity == 0.8
    point = found.operating_point("0.35")
    assert (point.name, point.threshold, point.sensitivity) == ("0.35", 0.35, None)


@pytest.mark.parametrize("wanted", ["unheard-of", "0", "1", "-0.1", "1.5", "nan", ""])
def test_operating_points_that_do_not_exist(tmp_path: Path, wanted: str) -> None:
    found = open_bundle(str(_write(tmp_path / "one")))
    with pytest.raises(ConfigError) as caught:
        found.operating_point(wanted)
    assert str(caught.value) == (
        f"operating point {wanted!r}: arbitrary has balanced, sensitive; a number between 0 and 1 works too"
    )


@pytest.mark.parametrize("name", FILES)
def test_a_single_changed_byte_is_found(tmp_path: Path, name: str) -> None:
    folder = _write(tmp_path / "one")
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    assert _refusal(folder) == (
        f"bundle {folder}: {name} does not match its sha256 in bundle.json, so it was altered or damaged; "
        "copy or export the bundle again"
    )


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    folder = _write(tmp_path / "one")
    (folder / name).unlink()
    assert _refusal(folder) == f"bundle {folder}: {name} is missing; copy or export the bundle again"


@pytest.mark.parametrize("name", FILES)
def test_a_file_without_a_digest(tmp_path: Path, name: str) -> None:
    folder = _write(tmp_path / "one", lambda manifest: manifest["files"].pop(name))
    assert _refusal(folder) == f"bundle {folder}: {name} is not named in bundle.json; remove it"


@pytest.mark.parametrize("name", ["model.pkl", "weights.pt", "code/run.py"])
def test_a_foreign_file(tmp_path: Path, name: str) -> None:
    folder = _write(tmp_path / "one")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"\x80\x04cos\nsystem\n.")
    assert _refusal(folder) == f"bundle {folder}: {name} is not named in bundle.json; remove it"


def test_a_named_file_outside_the_bundle_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"x")
    folder = _write(tmp_path / "one", lambda manifest: manifest["files"].update({"../outside": "0" * 64}))
    assert _refusal(folder) == f"bundle {folder}: ../outside is missing; copy or export the bundle again"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"files": 3}', '{"files": null}', "\udcff"])
def test_a_manifest_that_is_none(tmp_path: Path, text: str) -> None:
    folder = _write(tmp_path / "one")
    (folder / "bundle.json").write_text(text, errors="surrogateescape")
    message = _refusal(folder)
    assert message.startswith(f"bundle {folder}: bundle.json cannot be read (")
    assert message.endswith("; export the bundle again")


def engines(**found: Any) -> dict[str, Any]:
    return {"engines": {"images": 10, "others": {"openvino-bf16": found}}}


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(format=2),
        lambda manifest: manifest.pop("format"),
        lambda manifest: manifest.pop("name"),
        lambda manifest: manifest.pop("normalisation"),
        lambda manifest: manifest.update(head="dense"),
        lambda manifest: manifest["input"].update(size=0),
        lambda manifest: manifest.update(evaluation={"engines": {"images": 10}}),
        lambda manifest: manifest.update(evaluation=engines(labels_changed=11)),
        lambda manifest: manifest.update(evaluation=engines(labels_changed="none")),
        lambda manifest: manifest.update(evaluation=engines(labels_changed=0, auroc_change=math.nan)),
        lambda manifest: manifest["input"].update(layout="crop"),
        lambda manifest: manifest["input"].update(colour="rgb"),
        lambda manifest: manifest["calibration"].update(slope=-1),
        lambda manifest: manifest["calibration"].pop("intercept"),
        lambda manifest: manifest.update(default_operating_point="unheard-of"),
        lambda manifest: manifest["operating_points"]["balanced"].pop("threshold"),
    ],
)
def test_a_manifest_that_makes_no_sense(tmp_path: Path, change: Change) -> None:
    folder = _write(tmp_path / "one", change)
    message = _refusal(folder)
    assert message.startswith(f"bundle {folder}: bundle.json is malformed (")
    assert message.endswith("; export the bundle again")


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    assert _refusal(tmp_path) == f"bundle {tmp_path}: the directory has no bundle.json, so it is no bundle"


def test_an_unknown_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "SHIPPED", tmp_path)
    assert _refusal("unheard-of") == (
        "no bundle 'unheard-of': shipped with this package: none; a path to a bundle directory works too"
    )
    _write(tmp_path / "one")
    _write(tmp_path / "two")
    assert bundle.shipped_names() == ["one", "two"]
    assert "shipped with this package: one, two;" in _refusal("unheard-of")


def test_a_shipped_bundle_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "SHIPPED", tmp_path)
    folder = _write(tmp_path / "one")
    assert open_bundle("one").path == folder


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    assert open_bundle("one").path == tmp_path / "one"


@pytest.mark.parametrize("name", bundle.shipped_names())
def test_shipped_bundles_verify(name: str) -> None:
    found = open_bundle(name)
    assert found.name == name
    assert describe(found)["digest"] == found.digest


def test_description(tmp_path: Path) -> None:
    folder = _write(tmp_path / "one")
    description = describe(open_bundle(str(folder)))
    assert description["name"] == "arbitrary"
    assert (description["input_size"], description["default_operating_point"]) == (64, "balanced")
    assert description["size_bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert json.loads(json.dumps(description)) == description
