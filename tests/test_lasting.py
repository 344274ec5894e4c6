from __future__ import annotations

import os
import subprocess
import sys

CODE = """
from batch_fracture.lasting import LastingStderr
stream = LastingStderr()
print("one", file=stream, flush=True)
input()
for _ in range(3):
    print("nobody reads this", file=stream, flush=True)
stream.close()
print("done")
"""


def test_a_reader_that_goes_away_does_not_end_the_run() -> None:
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs, text=True
    )
    os.close(theirs)
    with os.fdopen(ours) as reader:
        line = reader.readline()
    said, _ = process.communicate("go on\n", timeout=30)
    assert line == "one\n"
    assert (process.returncode, said) == (0, "done\n")
