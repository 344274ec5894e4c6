from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_crew import Task, fuzz
from fuzz_mutations import broken
from fuzz_planted import FAULTS
from fuzz_seeds_dicom import whole

from batch_fracture.codes import Code

FILES, SEED = 10_000, 20261123
CODES = {
    *("read", Code.NOT_AN_IMAGE, Code.NOT_A_RADIOGRAPH, Code.MULTI_FRAME, Code.ANIMATED),
    *(Code.TRUNCATED, Code.CORRUPT, Code.UNSUPPORTED, Code.TOO_LARGE),
}
"""Every fate that a file can have by itself."""
FORMATS = {f"image/{name}" for name in ("jpeg", "png", "tiff", "gif", "bmp", "webp")} | {"application/dicom"}
FOUND = {
    "no row": "0 rows",
    "two rows": "2 rows",
    "short pixels": "read with 5 bytes of pixels",
    "unknown code": "the code 'ODD' is not in the enum",
    "wrong status": "CORRUPT with the status 'skipped'",
    "foreign words": "the message is none of ours: 'struct.error: 7'",
    "planted text": "planted text in modality",
    "wide number": "no row of schema.DECODED",
    "unknown column": "unknown columns {'patient'}",
    "out of memory": "OUT_OF_MEMORY: the image needs more memory than there is",
    "raises": "raised ZeroDivisionError: planted",
    "prints": "printed 24 bytes: 'libpng warning: planted",
    "warns": "UserWarning: planted",
    "says": "printed 8 bytes: 'planted",
    "dies": "the process died (-11)",
    "hangs": "hung",
    "allocates": "took 8",
}


def _digest(files: int) -> str:
    digest = hashlib.sha256()
    for number in range(files):
        name, content = broken(SEED, number)
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def test_the_same_seed_gives_the_same_files() -> None:
    code = "import test_fuzz; print(test_fuzz._digest(300))"
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == _digest(300)
    assert broken(SEED, 0) != broken(SEED + 1, 0)


def test_most_files_are_broken() -> None:
    files = set(whole(with_shared=False).values())
    assert sum(broken(SEED, number)[1] in files for number in range(300)) < 15


def test_planted_faults_are_found() -> None:
    names = tuple(FAULTS)
    summary = fuzz(Task(seed=SEED, with_shared=False, planted=names), iter(range(len(names))), workers=1)
    assert summary.files == len(names)
    found = dict.fromkeys(FAULTS, "")
    for number, _, problem in summary.violations:
        found[names[number]] += problem
    assert found.keys() == FOUND.keys()
    for name, words in FOUND.items():
        assert words in found[name], name


@pytest.mark.slow
def test_ten_thousand_broken_files() -> None:
    summary = fuzz(Task(seed=SEED, with_shared=False), iter(range(FILES)), workers=2)
    assert summary.violations == []
    assert summary.files == summary.codes.total() == FILES
    assert summary.codes.keys() == CODES
    assert summary.formats.keys() >= FORMATS
