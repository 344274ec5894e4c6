"""jobs/: each file is parsed, and the command line in it runs on a small archive."""

from __future__ import annotations

import configparser
import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from batch_fracture.bundle import DEFAULT, Bundle
from batch_fracture.config import RunConfig, read_toml

ROOT = Path(__file__).parents[1]
JOBS = ROOT / "jobs"
NIGHTLY = JOBS / "nightly.toml"
INSTALLED, CONFIGURED = "/opt/batch-fracture/bin/batch-fracture", "/etc/batch-fracture/nightly.toml"
LOG = "/var/log/batch-fracture/nightly.log"
COMMAND = Path(sys.executable).parent / "batch-fracture"
ONE_NIGHT_ONLY = {"reread", "retry_failed", "dry_run"}
SRUN = '#!/bin/bash\nwhile [[ $1 == --* ]]; do echo "srun $1" >&2; shift; done\nexec "$@"\n'
CAUGHT: Any = {"capture_output": True, "text": True}
SUBMITTED = "import shlex, sys; print(shlex.join(sys.argv[1:]))"
"""What `ray job submit -- WORDS` makes of its words (ray/dashboard/modules/job/cli.py)."""


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(JOBS / "systemd" / name)
    return parser


def cron_fields() -> list[str]:
    """minute hour day month weekday user command"""
    lines = (JOBS / "cron" / "batch-fracture").read_text().splitlines()
    (line,) = (line for line in lines if not re.match(r"#|[A-Z_]+=", line))
    assert "%" not in line  # to cron a line's end
    return line.split(maxsplit=6)


def ray_job(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The object of KubeRay, and the RayJob spec in it."""
    account, job = yaml.safe_load_all((JOBS / "kuberay" / name).read_text())
    assert (account["kind"], job["apiVersion"]) == ("ServiceAccount", "ray.io/v1")
    spec = job["spec"]
    return job, spec["jobTemplate"] if job["kind"] == "RayCronJob" else spec


def docker_stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions of each named stage."""
    text = re.sub(r"^\s*#.*\n", "", (JOBS / "Dockerfile").read_text(), flags=re.MULTILINE)
    stages: dict[str, list[tuple[str, str]]] = {}
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages[rest.partition(" AS ")[2] or "default"] = []
        if word:
            list(stages.values())[-1].append((word, rest))
    return stages


def submitted(entrypoint: str) -> str:
    """A RayJob's entrypoint as the job's shell gets it, after the submitter's shell and `ray job submit`."""
    script = f"if true ; then {shlex.quote(sys.executable)} -c {shlex.quote(SUBMITTED)} {entrypoint} ; fi ;"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def shell_lines() -> dict[str, str]:
    """What each file makes a shell run."""
    job = dict(docker_stages()["job"])
    return {
        "systemd": unit("batch-fracture.service")["Service"]["ExecStart"],
        "cron": cron_fields()[6],
        "slurm": (JOBS / "slurm" / "nightly.sbatch").read_text(),
        "rayjob": submitted(ray_job("rayjob.yaml")[1]["entrypoint"]),
        "raycronjob": submitted(ray_job("raycronjob.yaml")[1]["entrypoint"]),
        "docker": shlex.join([*json.loads(job["ENTRYPOINT"]), *json.loads(job["CMD"])]),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """A folder that stands for the machine the jobs are installed on."""

    folder: Path
    config: Path

    def run(self, name: str, command: Path = COMMAND) -> tuple[int, str]:
        """Run a file's command line with paths of this machine; (exit code, what was written)."""
        assert CONFIGURED in shell_lines()[name]
        line = shell_lines()[name].replace("--address auto", "--address local")
        for ours, here in ((INSTALLED, command), (CONFIGURED, self.config), (LOG, self.folder / "cron.log")):
            line = line.replace(ours, str(here))
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        for program, text in (("batch-fracture", f'#!/bin/sh\nexec "{command}" "$@"\n'), ("srun", SRUN)):
            (programs / program).write_text(text)
            (programs / program).chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "SLURM_CPUS_PER_TASK": "2"}
        shell = ["bash" if name == "slurm" else "sh", "-c", line]
        done = subprocess.run(shell, timeout=300, env=environment, check=False, **CAUGHT)
        logged = (self.folder / "cron.log").read_text() if name == "cron" else ""
        return done.returncode, done.stderr + done.stdout + logged


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Machine:
    """A small archive that nightly.toml, with paths of this machine, has read."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("machine")
    (folder / "archive").mkdir()
    for shade in range(4):
        Image.new("L", (64, 48), 50 * shade).save(folder / "archive" / f"{shade}.png")
    (folder / "archive" / "notes.txt").write_text("no image")
    text, config = NIGHTLY.read_text(), folder / "nightly.toml"
    archive, results = folder / "archive", folder / "results"
    here_for = {"/archive/radiographs": archive, "/data/fracture-results": results, DEFAULT: tiny_bundle.path}
    for ours, here in here_for.items():
        assert f'"{ours}"' in text
        text = text.replace(f'"{ours}"', f'"{here}"')
    config.write_text(f"json = true\n{text}")
    machine = Machine(folder=folder, config=config)
    code, written = machine.run("docker")
    assert code == 0, written
    report = json.loads(written.splitlines()[-1])
    assert (report["outcome"], report["read"], report["skipped"]) == ("complete", 4, 1)
    return machine


@pytest.mark.slow
@pytest.mark.parametrize("name", ["systemd", "cron", "slurm", "rayjob", "raycronjob", "docker"])
def test_each_command_line_runs(machine: Machine, name: str) -> None:
    code, written = machine.run(name)
    assert code == 0, written
    (line,) = (line for line in written.splitlines() if line.startswith("{"))
    report = json.loads(line)
    assert (report["outcome"], report["listed"], report["unchanged"]) == ("nothing_to_do", 5, 5)
    assert name != "slurm" or "srun --cpus-per-task=2" in written


@pytest.mark.parametrize("name", ["systemd", "cron", "slurm", "rayjob", "raycronjob", "docker"])
def test_exit_code_4_is_a_success_and_no_other(tmp_path: Path, name: str) -> None:
    machine = Machine(folder=tmp_path, config=tmp_path / "nightly.toml")
    command = tmp_path / "ends"
    found, mailed = [], []
    for code in range(5):
        command.write_text(f"#!/bin/sh\necho this night >&2\nexit {code}\n")
        command.chmod(0o755)
        ended, written = machine.run(name, command)
        found.append(ended)
        mailed.append(written.count("this night") - (name == "cron"))
    if name == "cron":  # which ignores codes: it mails what is printed
        assert (found, mailed) == ([0] * 5, [0, 1, 1, 1, 0])
    else:  # to systemd SuccessExitStatus= says it, and of an image the caller has to know
        assert found == [0, 1, 2, 3, 4 if name in ("systemd", "docker") else 0]


def test_every_flag_is_in_the_configuration_and_explained(tmp_path: Path) -> None:
    known = {field.name for field in dataclasses.fields(RunConfig) if field.init}
    explained = set()
    for line in NIGHTLY.read_text().splitlines():
        if not re.match(r"(# )?[a-z0-9-]+ = ", line):
            continue
        setting = line.removeprefix("# ")
        assert re.search(r"\s# \S", setting), line
        (tmp_path / "one.toml").write_text(setting)
        explained |= set(read_toml(str(tmp_path / "one.toml")))
    assert explained == known - ONE_NIGHT_ONLY
    config = RunConfig(**read_toml(str(NIGHTLY)))
    assert (config.deadline, config.pseudonym_key_file, config.address) == ("06:00", None, "local")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for path in (JOBS / "systemd").iterdir():
        (tmp_path / path.name).write_text(path.read_text().replace(INSTALLED, str(COMMAND)))
    units = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], check=False, **CAUGHT)
    assert not [line for line in done.stderr.splitlines() if "batch-fracture" in line], done.stderr
    assert done.returncode == 0, done.stderr


def test_every_stop_waits_longer_than_the_grace() -> None:
    service = unit("batch-fracture.service")["Service"]
    assert (service["TimeoutStopSec"], service["KillMode"], service["Restart"]) == ("60", "mixed", "no")
    assert "4" in service["SuccessExitStatus"].split()
    assert "#SBATCH --signal=TERM@60\n" in (JOBS / "slurm" / "nightly.sbatch").read_text()
    head = ray_job("rayjob.yaml")[1]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    environment = {one["name"]: one["value"] for one in head["containers"][0]["env"]}
    assert (head["terminationGracePeriodSeconds"], environment["RAY_JOB_STOP_WAIT_TIME_S"]) == (60, "60")
    assert "--stop-timeout=60" in (JOBS / "Dockerfile").read_text()


def test_all_nights_begin_at_ten() -> None:
    timer = unit("batch-fracture.timer")["Timer"]
    assert (timer["OnCalendar"], timer["Persistent"]) == ("*-*-* 22:00", "true")
    assert cron_fields()[:6] == ["0", "22", "*", "*", "*", "batch-fracture"]
    assert ray_job("raycronjob.yaml")[0]["spec"]["schedule"] == "0 22 * * *"


def test_kuberay_starts_this_ray_and_the_same_job_every_night() -> None:
    cron_job, template = ray_job("raycronjob.yaml")
    assert set(cron_job["spec"]) <= {"schedule", "timeZone", "suspend", "jobTemplate"}  # KubeRay 1.7.0
    assert template == ray_job("rayjob.yaml")[1]
    cluster = template["rayClusterSpec"]
    assert f"ray[data]=={cluster['rayVersion']}" in (ROOT / "pyproject.toml").read_text()
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert (pod["serviceAccountName"], pod["securityContext"]["runAsUser"]) == ("batch-fracture", 10001)
        assert [one["image"] for one in pod["containers"]] == ["batch-fracture:kuberay"]


def test_the_image_has_what_it_copies_no_root_and_no_secret(tmp_path: Path) -> None:
    stages, text = docker_stages(), (JOBS / "Dockerfile").read_text()
    assert set(re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE)) == {"python:3.11-slim", "job"}
    sent = (JOBS / "Dockerfile.dockerignore").read_text().splitlines()
    for stage, instructions in stages.items():
        copied = [rest for word, rest in instructions if word == "COPY" and "--from" not in rest]
        for source in (source for rest in copied for source in rest.split()[:-1]):
            assert f"!{source}" in sent
            assert (ROOT / source).exists()
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            if stage == "build":
                copy(ROOT / source, tmp_path / source)
    build = "pip wheel --no-deps --no-build-isolation --wheel-dir"
    assert f"{build} /wheels ." in dict(stages["build"])["RUN"]
    command = [sys.executable, "-m", *build.split(), str(tmp_path / "wheels"), "."]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert len(list((tmp_path / "wheels").iterdir())) == 1
    assert [dict(stages[stage])["USER"] for stage in ("job", "kuberay")] == ["10001"] * 2
    assert not re.search(r"secret|token|password|access_key", str(stages), flags=re.IGNORECASE)


def test_the_readme_links_every_file() -> None:
    links = set(re.findall(r"\]\(([^)]+)\)", (JOBS / "README.md").read_text()))
    files = [path for path in JOBS.rglob("*") if path.suffix in {".toml", ".yaml", ".sbatch"}]
    assert links - {"Dockerfile", "systemd/", "cron/batch-fracture"} == {
        str(path.relative_to(JOBS)) for path in files
    }
