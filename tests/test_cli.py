from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from batch_fracture.bundle import Bundle
from batch_fracture.cli import cli, main


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["batch-fracture", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def commands(group: click.Group, prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name, command in group.commands.items():
        found.append(((*prefix, name), command))
        if isinstance(command, click.Group):
            found += commands(command, (*prefix, name))
    return found


@pytest.mark.parametrize(("path", "command"), commands(cli))
def test_every_command_and_flag_is_documented_with_an_example(
    path: tuple[str, ...], command: click.Command
) -> None:
    assert "Example:" in str(command.help)
    assert f"batch-fracture {path[0]}" in str(command.help)
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or getattr(parameter, "help", None), parameter.name


def test_help_is_light() -> None:
    code = (
        "import sys, contextlib\nfrom batch_fracture.cli import cli\n"
        "for words in (['--help'], ['run', '--help']):\n"
        "    with contextlib.suppress(SystemExit): cli(words)\n"
        "heavy = {'ray', 'torch', 'pyarrow', 'duckdb', 'openvino', 'numpy', 'rich'}&set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "{tmp}", "--resuls", "x"), "No such option '--resuls'"),
        (("runn",), "No such command 'runn'"),
        (("run", "{tmp}/a"), "no --results"),
        (("run", "--results", "{tmp}/r"), "no SOURCE"),
        (("run", "{tmp}/nowhere", "--results", "{tmp}/r", "--model", "{bundle}"), "nowhere': No such file"),
        (
            ("run", "{tmp}/a", "--results", "{tmp}/full", "--model", "{bundle}"),
            "name an empty or a new folder",
        ),
        (("run", "{tmp}/a", "--results", "{tmp}/a/r", "--model", "{bundle}"), "lies inside the source"),
        (("run", "{tmp}/a", "--results", "{tmp}/r", "--model", "none"), "no bundle 'none'"),
        (
            ("run", "{tmp}/a", "--results", "{tmp}/r", "--model", "{bundle}", "--engine", "tpu"),
            "engine 'tpu'",
        ),
        (("run", "{tmp}/a", "--results", "/proc/r", "--model", "{bundle}"), "cannot be written"),
        (("run", "{tmp}/a", "--results", "{tmp}/r", "--limit", "0"), "0 is not in the range x>=1"),
        (("run", "{tmp}/a", "--results", "{tmp}/r", "--max-pixels", "0"), "0 is not in the range x>=1"),
        (("run", "{tmp}/a", "--results", "{tmp}/r", "--time-limit-s", "0"), "0.0 is not in the range x>0"),
        (("run", "{tmp}/a", "--config", "{tmp}/none.toml"), "none.toml': No such file"),
        (("query", "--results", "{tmp}/full", "SELECT 1"), "not a results folder"),
        (("query", "--results", "{tmp}/a", "SELECT 1"), "there are no results yet"),
        (("bundle", "verify", "{tmp}/full"), "has no bundle.json"),
        (("demo", "{tmp}/full"), "name a new or an empty folder"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_2(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    tiny_bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "holiday.jpg").touch()
    assert call(monkeypatch, *(word.format(tmp=tmp_path, bundle=tiny_bundle.path) for word in arguments)) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("listing ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert said in errors[0]


def test_an_altered_bundle_is_refused(
    tmp_path: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    altered = tmp_path / "altered"
    altered.mkdir()
    for file in tiny_bundle.path.iterdir():
        (altered / file.name).write_bytes(file.read_bytes())
    assert call(monkeypatch, "bundle", "verify", altered) == 0
    (altered / "model.bin").write_bytes(b"other weights")
    run = ("run", altered, "--results", tmp_path / "r", "--model", altered)
    for words in (("bundle", "verify", altered), run):
        capfd.readouterr()
        assert call(monkeypatch, *words) == 2
        assert "model.bin does not match its sha256" in capfd.readouterr().err


def test_bundle_show_names_what_scripts_need(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "bundle", "show", tiny_bundle.path, "--json") == 0
    shown = json.loads(capfd.readouterr().out)
    assert (shown["name"], shown["architecture"], shown["input_size"]) == ("tiny", "test_efficientnet", 64)
    assert shown["digest"] == tiny_bundle.digest


def test_a_run_from_a_file_where_flags_win_then_a_query(
    tmp_path: Path,
    draw: Any,
    tiny_bundle: Bundle,
    ray_session: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    draw(tmp_path / "a", 5)
    config = tmp_path / "nightly.toml"
    config.write_text(
        f'source = ["{tmp_path}/a"]\nresults = "{tmp_path}/r"\nmodel = "{tiny_bundle.path}"\n'
        'limit = 2\nexclude = ["*-00004.png"]\nlog-format = "json"\nmodalities = ["CR"]\n'
    )
    assert call(monkeypatch, "run", "--config", config, "--limit", "3", "--json") == 4
    output = capfd.readouterr()
    report = json.loads(output.out)
    assert (report["listed"], report["read"], report["not_reached"], report["exit_code"]) == (4, 3, 1, 4)
    events = [json.loads(line)["event"] for line in output.err.splitlines() if line.startswith("{")]
    assert (events[0], events[-1]) == ("note", "finished")
    sql = "SELECT count(*) AS n FROM readings"
    assert call(monkeypatch, "query", "--results", tmp_path / "r", sql, "--json") == 0
    assert json.loads(capfd.readouterr().out) == {"columns": ["n"], "rows": [{"n": 3}]}
    assert call(monkeypatch, "query", "--results", tmp_path / "r", sql) == 0
    assert "1 row" in capfd.readouterr().out


def test_what_nobody_expected_is_one_line_with_a_file(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_name: str) -> None:
        raise ZeroDivisionError("Smith^John")

    monkeypatch.setattr("batch_fracture.bundle.open_bundle", fail)
    assert call(monkeypatch, "bundle", "show", "x") == 1
    line = capfd.readouterr().err.strip()
    assert line.startswith("unexpected error: ZeroDivisionError; traceback: ")
    assert "Smith" not in line
    traceback = Path(line.rpartition(" ")[2])
    assert "Smith" in traceback.read_text()
    assert traceback.stat().st_mode & 0o777 == 0o600
    traceback.unlink()


def test_the_nightly_configuration_runs(
    tmp_path: Path,
    draw: Any,
    tiny_bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    draw(tmp_path / "a", 3)
    config = Path(__file__).parents[1] / "jobs" / "nightly.toml"
    flags = (
        "--results",
        tmp_path / "r",
        "--model",
        tiny_bundle.path,
        "--operating-point",
        "0.4",
        "--dry-run",
        "--json",
    )
    assert call(monkeypatch, "run", tmp_path / "a", "--config", config, *flags) == 0
    report = json.loads(capfd.readouterr().out)
    assert (report["listed"], report["not_reached"], report["threshold"]) == (3, 3, 0.4)
