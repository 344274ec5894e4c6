from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from batch_fracture import cluster
from batch_fracture.cluster import KEPT_LOGS, ray_cluster, remove_leftovers
from batch_fracture.errors import BatchFractureError, ConfigError

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
    folders = Path(tempfile.gettempdir()).glob(f"bf-ray-*-{cluster._pid_namespace()}*")
    assert all(psutil.pid_exists(int(folder.name.split("-")[2])) for folder in folders)


def test_folders_of_dead_runs_go_and_those_of_other_pid_namespaces_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen(["true"])
    dead.wait()
    mine = [cluster.make_folder().name for _ in range(3)]
    here = f"{os.getpid()}-{cluster._pid_namespace()}"
    assert mine == [f"bf-ray-{here}", f"bf-ray-{here}-1", f"bf-ray-{here}-2"]
    elsewhere = [f"bf-ray-{dead.pid}-00000001", f"bf-ray-{dead.pid}-x"]
    gone = [f"bf-ray-{dead.pid}-{cluster._pid_namespace()}{ending}" for ending in ("", "-1")]
    for name in (*elsewhere, *gone):
        (tmp_path / name / "session_latest").mkdir(parents=True)
    remove_leftovers()
    assert {path.name for path in tmp_path.iterdir()} == {*mine, *elsewhere}
    assert stat.S_IMODE((tmp_path / mine[0]).stat().st_mode) == 0o700


def test_a_folder_for_which_there_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(cluster, "_MAX_NAMESAKES", 1)
    cluster.make_folder()
    with pytest.raises(BatchFractureError, match="stand in the way; remove them"):
        cluster.make_folder()


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
