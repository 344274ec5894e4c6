from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest

from batch_fracture import __version__, bundle, doctor, engines
from batch_fracture.doctor import Check, machine, places, software
from batch_fracture.results.bucket_folder import BucketFolder
from batch_fracture.store import Access

Usage = namedtuple("Usage", "total used free")


def _named(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_examination_covers_what_a_run_needs(tmp_path: Path) -> None:
    names = [check.name for check in doctor.examine(str(tmp_path))]
    for wanted in ("batch-fracture", "python", *software.NEEDED, *software.FOR_GPUS, "cores", "memory"):
        assert wanted in names
    for wanted in (
        "instruction sets",
        "GPUs",
        "engine",
        f"bundle {bundle.DEFAULT}",
        "results",
        "temporary folder",
    ):
        assert wanted in names
    assert _named(doctor.examine(None), "batch-fracture").value == __version__
    assert "results" not in [check.name for check in doctor.examine(None)]


def test_every_failure_has_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "SHIPPED", tmp_path)
    failures = [check for check in doctor.examine("/proc/nowhere") if check.ok is False]
    assert {check.name for check in failures} >= {f"bundle {bundle.DEFAULT}", "results"}
    assert all(check.remedy for check in failures)


def test_a_check_that_breaks_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks() -> list[Check]:
        raise ZeroDivisionError("strange machine")

    monkeypatch.setattr(machine, "memory", breaks)
    check = _named(doctor.examine(None), "memory")
    assert check.ok is False
    assert check.value == "could not be looked at (ZeroDivisionError: strange machine)"


def test_render_puts_the_remedy_below_its_check() -> None:
    checks = [
        Check(name="a", value="1", ok=True),
        Check(name="bcd", value="2", ok=False, remedy="do this"),
        Check(name="e", value="3"),
    ]
    assert doctor.render(checks) == [
        "ok    a    1",
        "FAIL  bcd  2",
        "           -> do this",
        "      e    3",
    ]


def test_json_is_plain_and_says_whether_all_is_well() -> None:
    good, bad = Check(name="a", value="1", ok=True), Check(name="b", value="2", ok=False, remedy="r")
    assert doctor.as_json([good, Check(name="c", value="3")])["ok"] is True
    answer = doctor.as_json([good, bad])
    assert json.loads(json.dumps(answer)) == answer
    assert answer == {
        "ok": False,
        "checks": [
            {"name": "a", "value": "1", "ok": True, "remedy": None},
            {"name": "b", "value": "2", "ok": False, "remedy": "r"},
        ],
    }


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, batch_fracture.doctor; "
        "print([m for m in ('torch','ray','openvino','pyarrow','PIL','pydicom') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


def test_a_missing_package_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "NEEDED", ("pyarrow", "no-such-package"))
    check = _named(software.versions(), "no-such-package")
    assert (check.ok, check.value, check.remedy) == (False, "not installed", "pip install batch-fracture")
    assert _named(software.versions(), "pyarrow").ok is True


def test_a_gpu_without_torch_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "gpu_names", lambda: ["NVIDIA H200, 143771 MiB"])
    monkeypatch.setattr(software, "FOR_GPUS", ("no-such-torch",))
    (check,) = software.engine()
    assert (check.ok, check.value) == (False, "torch-fp32, but no-such-torch is not installed")
    assert check.remedy == "pip install 'batch-fracture[gpu]', or --engine openvino-fp32"


def test_engine_is_chosen_by_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "gpu_names", list)
    here = "openvino-mixed" if engines.runs_here("openvino-mixed") else engines.OPENVINO_FP32
    assert software.engine()[0] == Check(name="engine", value=here, ok=True)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_cores_know_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], quota: float | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    (check,) = machine.cores()
    if quota is None:
        assert check == Check(name="cores", value="2 usable of 8", ok=True)
    else:
        assert check.value == f"2 usable of 8, but the cgroup allows {quota:g}"
        assert check.remedy is not None


def test_memory_knows_the_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{512 * 2**20}\n")
    (tmp_path / "memory.current").write_text(f"{112 * 2**20}\n")
    (check,) = machine.memory()
    assert check.ok is False
    assert check.value == "400 MiB available of 512 MiB that the cgroup allows"


@pytest.mark.parametrize(
    ("text", "ok", "value"),
    [
        ("processor : 0\nflags : fpu avx2 avx512f amx_bf16\n", True, "avx2 avx512f amx_bf16"),
        ("processor : 0\nflags : fpu sse2\n", False, "none of note"),
        ("processor : 0\nFeatures : asimd\n", None, None),
    ],
)
def test_instruction_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, ok: bool | None, value: str | None
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    (check,) = machine.instruction_sets()
    assert check.ok is ok
    assert value is None or check.value == value


def test_gpu_names_come_from_the_driver_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert machine.gpu_names() == ["NVIDIA H200, 143771 MiB"]
    tool.write_text("#!/bin/sh\necho 'No devices were found'; exit 9\n")
    assert machine.gpu_names() == []


def test_results_folder_that_can_be_made(tmp_path: Path) -> None:
    (check,) = places.folder("results", str(tmp_path / "a" / "b"))
    assert check.ok is True
    assert check.value.startswith(f"{tmp_path}/a/b can be made, ")
    assert list(tmp_path.iterdir()) == []


def test_results_whose_uri_lacks_a_slash() -> None:
    (check,) = places.results("s3:/b/results", None)
    assert (check.ok, check.remedy) == (False, "name s3://b/results")


def test_results_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert places.folder("results", str(tmp_path / "file"))[0].value == f"{tmp_path}/file is not a folder"
    assert places.folder("results", str(tmp_path / "file" / "below"))[0].ok is False
    (check,) = places.folder("results", "/proc/nowhere")
    assert check.ok is False
    assert check.value.startswith("/proc cannot be written (")


def test_a_bucket_is_tried_and_nothing_is_left(bucket: str) -> None:
    (check,) = places.results(f"s3://{bucket}/results", None)
    assert (check.ok, check.value.endswith("keeps what was put first")) == (True, True)
    assert BucketFolder(f"s3://{bucket}", Access()).files("") == []
    (check,) = places.results("s3://no-such-bucket/results", None)
    assert (check.ok, "--s3-endpoint" in str(check.remedy)) == (False, True)


def test_a_full_disk_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(2**40, 2**40 - 2**20, 2**20))
    (check,) = places.folder("results", str(tmp_path))
    assert (check.ok, check.value) == (False, f"{tmp_path} can be written, 1 MiB free")
    monkeypatch.setattr(places, "SHARED_MEMORY", tmp_path)
    assert places.shared_memory()[0].remedy == "docker run --shm-size=1g, or a larger tmpfs"


def test_a_temporary_folder_too_long_for_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/scratch/user/job.123456")
    (check,) = places.temporary()
    assert (check.ok, check.remedy) == (False, "set TMPDIR to a shorter path")


def test_no_shared_memory_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "SHARED_MEMORY", tmp_path / "shm")
    assert places.shared_memory()[0].ok is None
