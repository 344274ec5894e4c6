from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from batch_fracture.cluster import KEPT_LOGS, ray_cluster
from batch_fracture.errors import ConfigError

WORK = """
import signal, sys
from pathlib import Path
from batch_fracture.cluster import ray_cluster
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with ray_cluster("local", Path(sys.argv[1])) as resources:
    import ray, psutil, time
    for process in psutil.Process().children(recursive=True):
        process.terminate()
    time.sleep(0.5)
    print("hidden")
    assert ray.get(ray.remote(lambda: 7).remote(), timeout=30) == 7
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
print(resources.num_gpus, len(psutil.Process().children()))
"""


@pytest.mark.slow
def test_a_cluster_starts_quietly_survives_sigterm_and_leaves_nothing(tmp_path: Path) -> None:
    log = tmp_path / "new" / "ray.log"
    log.parent.mkdir()
    for number in range(30):
        (log.parent / f"old-{number}.log").touch()
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(log)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "HOME": "/proc/nowhere"},  # a service account without a home
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "0 0\n"
    assert "hidden" in log.read_text()
    assert len(list(log.parent.iterdir())) == KEPT_LOGS
    alive = [Path(folder).name.split("-")[2] for folder in Path(tempfile.gettempdir()).glob("bf-ray-*")]
    assert all(psutil.pid_exists(int(pid)) for pid in alive)


def test_a_program_that_is_connected_keeps_its_connection(tmp_path: Path, ray_session: None) -> None:
    import ray

    before = signal.getsignal(signal.SIGTERM)
    with ray_cluster("local", tmp_path / "ray.log") as resources:
        assert (resources.num_cpus, resources.num_gpus) == (2, 0)
    assert ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:ray", "nowhere"])
def test_no_cluster_at_the_address(tmp_path: Path, address: str) -> None:
    with (
        pytest.raises(ConfigError, match=f"no Ray cluster answers at '{address}'"),
        ray_cluster(address, tmp_path / "x"),
    ):
        pass
