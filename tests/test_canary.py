from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from canary import CONTENT, NAME, NUMBER, PIECE, TEXT, UID, Canary, search
from canary_archive import CRASH, STALL, plant
from deltalake import DeltaTable
from PIL import Image

from batch_fracture.failpoints import VARIABLE

MARK = "QWJFKZVX" + "HGYTRMPL"


@pytest.fixture
def canary() -> Canary:
    """One marker of text, MARK, among others."""
    canary = Canary(rng=random.Random(3))
    canary.beginnings[TEXT] = MARK[:8]
    canary.planted[TEXT] = {MARK: "PatientName", MARK[:8] + "XXXXXXXX": "PatientID"}
    return canary


def fully(pattern: str) -> Callable[[str], bytes]:
    return lambda text: "".join(pattern.format(ord(letter)) for letter in text).encode()


def parquet(**columns: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def noted(text: str) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"note": text}), sink)
    return sink.getvalue().to_pybytes()


DISGUISES: dict[str, Callable[[str], bytes]] = {
    "plain": lambda text: b"name: " + text.encode(),
    "lower case": lambda text: text.lower().encode(),
    "broken into lines": lambda text: f"{text[:5]}\n{text[5:11]}\r\n{text[11:]}".encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64, shifted by one": lambda text: base64.b64encode(b"a" + text.encode() + b"bc"),
    "base64, shifted by two": lambda text: base64.urlsafe_b64encode(b"ab" + text.encode() + b"c"),
    "base64 of lower case": lambda text: base64.b64encode(b"ab" + text.lower().encode()),
    "base64 in lines": lambda text: base64.encodebytes(b"x" * 50 + text.encode() + b"y" * 50),
    "base64 of UTF-16": lambda text: base64.b64encode(("ab" + text).encode("utf-16-le")),
    "hex": lambda text: text.encode().hex().encode(),
    "hex in capitals": lambda text: text.encode().hex().upper().encode(),
    "hex of UTF-16": lambda text: text.encode("utf-16-be").hex().encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, big-endian": lambda text: text.encode("utf-16-be"),
    "percent-encoding": fully("%{:02X}"),
    "JSON": fully("\\u{:04x}"),
    "escapes": fully("\\x{:02x}"),
    "gzip": lambda text: gzip.compress(text.encode() + bytes(9)),
    "zstd": lambda text: pa.compress(text.encode(), "zstd", asbytes=True),
    "packed Parquet column": lambda text: parquet(a=[1] * 500, b=["x" * 100 + text, "y" * 90] * 250),
    "Parquet list": lambda text: parquet(a=[["one", text.lower()], None]),
    "Parquet metadata": noted,
    "base64 in Parquet": lambda text: parquet(a=[base64.b64encode(b"a" + text.encode())] * 2),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_search_sees_through(canary: Canary, tmp_path: Path, disguise: str) -> None:
    (tmp_path / "log").write_bytes(DISGUISES[disguise](MARK))
    (tmp_path / "innocent").write_bytes(DISGUISES[disguise](MARK[::-1]))
    found = search(canary, CONTENT, [tmp_path])
    assert found
    assert {line.split(" as ")[0] for line in found} == {f"{MARK} (PatientName)"}
    assert all(" in log" in line for line in found)


def test_search_sees_names_links_texts_and_pieces(canary: Canary, tmp_path: Path) -> None:
    (tmp_path / f"{MARK}.txt").touch()
    assert search(canary, CONTENT, [tmp_path]) == [
        f"{MARK} (PatientName) as utf-8 plain in the name of {MARK}.txt"
    ]
    (tmp_path / f"{MARK}.txt").rename(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / MARK)
    assert search(canary, CONTENT, [tmp_path]) == [
        f"{MARK} (PatientName) as utf-8 plain in the target of link"
    ]
    piece = f"{PIECE} as utf-8 plain in stderr"
    assert search(canary, CONTENT, [], {"stderr": f"cut at {MARK[:11]}"}) == [piece]
    assert search(canary, CONTENT, [], {"stderr": b"nothing to see"}) == []


def test_every_marker_is_planted(tmp_path: Path) -> None:
    canary, source = plant(tmp_path, seed=7)
    assert len(canary.of(TEXT)) > 2000
    assert len(canary.of(NUMBER)) > 300
    lines = search(canary, (*CONTENT, UID, NAME), [tmp_path])
    found = {line.split()[0] for line in lines if not line.startswith(PIECE)}
    assert found == set(canary.of(*CONTENT, UID, NAME)) - canary.packed
    shown = ""
    for name in ("scan.png", f"{STALL}.png"):
        with Image.open(next(source.rglob(f"* {name}"))) as image:
            image.load()
            shown += str(image.info)
    bombs = {marker for marker in canary.packed if "MB" in canary.planted[TEXT][marker]}
    assert [marker for marker in canary.packed - bombs if marker not in shown] == []
    assert len(bombs) == 1


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[Path]:
    """Whatever appears in a folder: a second name for each file, so that removing it does not lose it."""
    left, keep = threading.Event(), folder / "kept"
    keep.mkdir(exist_ok=True)

    def watch() -> None:
        while not left.wait(0.05):
            for parent, _, names in os.walk(folder):
                if not Path(parent).is_relative_to(keep):
                    for name in names:
                        _keep(Path(parent, name), keep)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield keep
    finally:
        left.set()
        watcher.join()


def _keep(file: Path, keep: Path) -> None:
    with contextlib.suppress(OSError):
        if file.is_file() and not file.is_symlink():
            os.link(file, keep / f"{file.stat().st_ino} {file.name}")


def allow_core_dumps() -> None:
    """As some services do: a crashing worker would leave its memory, and the image in it, in the folder."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


class Nights:
    """Runs the command where all that it writes can be searched."""

    def __init__(self, tmp_path: Path, short: Path, *arguments: object) -> None:
        self.results, self.home = tmp_path / "results", tmp_path / "home"
        self.texts: dict[str, bytes] = {}
        self.short = short
        self._command = [sys.executable, "-m", "batch_fracture", "run", *map(str, arguments)]
        self._command += ["--results", str(self.results), "--max-failed", "1", "--json"]
        self.home.mkdir()

    def places(self) -> list[Path]:
        """Everything that they wrote, but the links."""
        return [self.home, *(path for path in self.results.iterdir() if path.name != "links")]

    def start(self, failpoint: str, log_format: str) -> subprocess.Popen[bytes]:
        places = {"HOME": self.home, "XDG_STATE_HOME": self.home / "state", "TMPDIR": self.short}
        with (self.home / f"stderr-{log_format}").open("wb") as stderr:
            return subprocess.Popen(
                [*self._command, "--log-format", log_format],
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=self.home,
                preexec_fn=allow_core_dumps,
                env=os.environ | {name: str(place) for name, place in places.items()} | {VARIABLE: failpoint},
            )

    def kill_once_a_unit_is_done(self) -> None:
        """A night that is killed while one image hangs."""
        process = self.start(f"decode=hang@{STALL}", "plain")
        deadline = time.monotonic() + 200
        while not list(self.results.glob("_work/*/units/*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.communicate()
        for child in psutil.wait_procs(children, timeout=10)[1]:
            child.kill()

    def finish(self) -> dict[str, Any]:
        """A night that loses a worker and goes on."""
        process = self.start(f"decode=segv@{CRASH}", "json")
        self.texts["stdout"], _ = process.communicate(timeout=100)
        assert process.returncode == 0, (self.home / "stderr-json").read_text()
        return json.loads(self.texts["stdout"])


@pytest.fixture
def short() -> Iterator[Path]:
    """Ray's sockets stand below: their paths may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="c", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


MODES: dict[str, tuple[str, ...]] = {"open": CONTENT, "pseudonyms": (*CONTENT, UID, NAME)}
"""What may stand nowhere outside `links/`. Without pseudonyms, names and UIDs are what the table is about."""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["open", "pseudonyms"])  # and "pseudonyms", once the flag is announced
def test_nothing_of_a_file_gets_out(tmp_path: Path, short: Path, mode: str) -> None:
    canary, source = plant(tmp_path / "images")
    key = tmp_path / "key"
    key.write_bytes(random.Random(5).randbytes(32))
    key.chmod(0o600)
    nights = Nights(tmp_path, short, source, *(["--pseudonym-key-file", key] * (mode == "pseudonyms")))
    with kept(short) as session_files:
        nights.kill_once_a_unit_is_done()
        assert list(nights.results.glob("_work/*/units/*.parquet"))
        assert search(canary, MODES[mode], [*nights.places(), session_files]) == []
        report = nights.finish()
    assert search(canary, MODES[mode], [*nights.places(), session_files], nights.texts) == []
    assert len(list(session_files.glob("* worker-*.err"))) > 4
    resumed, *_ = report["earlier"]
    assert resumed["codes"]["DECODER_CRASHED"] == 3
    assert resumed["read"] > 40
    known = nights.results / ("readings" if mode == "open" else "links")
    assert len({line.split()[0] for line in search(canary, (NAME, UID), [known])}) > 350
    if mode == "pseudonyms":
        digests = {hashlib.sha256(p.read_bytes()).hexdigest() for p in source.rglob("*") if p.is_file()}
        table = DeltaTable(nights.results / "readings").to_pyarrow_table()
        assert not digests & set(table["image_sha256"].to_pylist())
