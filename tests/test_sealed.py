from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from test_export import night

from batch_fracture.errors import ResultsError
from batch_fracture.export import export
from batch_fracture.results.home import find_home
from batch_fracture.sealed import ABOUT, SUMS, check

FILE = "readings/read_date=2026-11-20/r1-000000-0.parquet"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sealed")
    home = find_home(str(folder / "results"), create=True)
    for number in (1, 2):
        night(home, f"r{number}", f"2026-11-{19 + number}", ["read", "failed"])
    export(home, str(folder / "copy"))
    shutil.rmtree(folder / "results")  # years later
    return folder / "copy"


@pytest.fixture
def copy(sealed: Path, tmp_path: Path) -> Path:
    copied = Path(shutil.copytree(sealed, tmp_path / "copy"))
    for path in copied.rglob("*"):
        path.chmod(0o755)
    return copied


def seal_again(folder: Path) -> None:
    """What a forger would do: the sums fit, only the seal tells."""
    names = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}"
        for path in names
    ]
    (folder / SUMS).write_text("\n".join(lines) + "\n")


def test_an_untouched_copy_is_checked_without_its_results(copy: Path) -> None:
    moments: list[tuple[int, int]] = []
    done = check(copy, lambda now, total: moments.append((now, total)))
    files = [path for path in copy.rglob("*") if path.is_file() and path.name != SUMS]
    assert (done.num_files, done.num_bytes) == (len(files), sum(path.stat().st_size for path in files))
    assert (done.about["rows"], done.about["runs"], done.doubtful_runs) == (4, 2, ())
    assert done.seal == hashlib.sha256((copy / SUMS).read_bytes()).hexdigest()
    assert moments[-1] == (done.num_bytes, done.num_bytes)
    lines = (copy / SUMS).read_text().splitlines()
    assert [line[66:] for line in lines] == sorted(path.relative_to(copy).as_posix() for path in files)


def test_sha256sum_checks_it_too(copy: Path) -> None:
    ask = ["sha256sum", "--strict", "-c", SUMS]
    done = subprocess.run(ask, cwd=copy, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK\n") == len((copy / SUMS).read_text().splitlines()) == 6
    (copy / FILE).write_bytes(b"other")
    assert subprocess.run(ask, cwd=copy, capture_output=True, check=False).returncode == 1


def test_every_change_is_found_and_named(copy: Path) -> None:
    whole = (copy / FILE).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for changed in (bytes(flipped), whole[:-1], whole + b"\0", b""):
        (copy / FILE).write_bytes(changed)
        with pytest.raises(ResultsError, match=f"{FILE} does not match its sha256"):
            check(copy)
    (copy / FILE).unlink()
    with pytest.raises(ResultsError, match=f"{FILE} is not there"):
        check(copy)
    (copy / FILE).write_bytes(whole)
    (copy / "readings" / "more.parquet").write_bytes(whole)
    with pytest.raises(ResultsError, match=r"readings/more.parquet is not named in SHA256SUMS"):
        check(copy)


def test_a_forger_who_seals_again_must_forge_the_counts_as_well(copy: Path) -> None:
    other = copy / FILE.replace("20/r1", "21/r2")
    seal = check(copy).seal
    about = json.loads((copy / ABOUT).read_text())
    for change, said in (
        ({"rows": 5}, "holds 4 rows, export.json has 5"),
        ({"statuses": {"read": 4}}, "holds 4 rows"),
        ({"format": 2}, "has format 2, not 1"),
        ({"files": [{**file, "rows": 3} for file in about["files"]]}, "holds 2 rows, the log had 3"),
    ):
        (copy / ABOUT).write_text(json.dumps(about | change))
        seal_again(copy)
        with pytest.raises(ResultsError, match=said):
            check(copy)
    (copy / ABOUT).write_text(json.dumps(about))
    (copy / FILE).write_bytes(other.read_bytes())
    seal_again(copy)
    assert check(copy).seal != seal
    assert check(copy).doubtful_runs == ("r1", "r2")
    (copy / FILE).write_bytes(b"no Parquet")
    seal_again(copy)
    with pytest.raises(ResultsError, match=f"{FILE}: was sealed as it is, but cannot be read"):
        check(copy)


def test_what_is_no_sealed_copy(copy: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(ResultsError, match=r"no sealed copy .SHA256SUMS: No such file"):
            check(folder)
    (copy / SUMS).write_text("hello\n")
    with pytest.raises(ResultsError, match="not a list of sha256 sums"):
        check(copy)
