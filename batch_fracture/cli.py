"""The command line: each command parses, calls the library, prints. Heavy imports wait for the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from batch_fracture import __version__
from batch_fracture.errors import BatchFractureError

INTERRUPTED = 4
_RESULTS = click.option(
    "--results", required=True, metavar="URI", help="Folder that `run` wrote its tables to."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object last, for machines.")


def main() -> None:
    """Entry point: maps every ending to one line and the exit code of the design."""
    try:
        code = cli.main(standalone_mode=False, prog_name="batch-fracture")
    except click.ClickException as error:
        _end(f"error: {error.format_message()}".replace("\n", " "), code=2)
    except BatchFractureError as error:
        _end(f"error: {error}", code=error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _end("interrupted: nothing more was committed; run the same command again to go on", code=INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last resort: one line here, the traceback in a file
        _end(f"unexpected error: {type(error).__name__}: {error}; traceback: {_write_traceback()}", code=1)
    sys.exit(code if isinstance(code, int) else 0)


def _end(line: str, *, code: int) -> None:
    click.echo(line, err=True)
    sys.exit(code)


def _write_traceback() -> str:
    import tempfile  # noqa: PLC0415 - only when all else has failed
    import traceback  # noqa: PLC0415

    with tempfile.NamedTemporaryFile("w", prefix="batch-fracture-", suffix=".txt", delete=False) as file:
        traceback.print_exc(file=file)
    return file.name


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="batch-fracture")
def cli() -> None:
    r"""Re-read archives of bone radiographs: images in, an audited Parquet table out.

    For retrospective quality audits, not for diagnosis.

    \b
    Example:
      batch-fracture run /archive/radiographs --results /data/readings
      batch-fracture query --results /data/readings "SELECT status, count(*) FROM readings GROUP BY ALL"
    """


def _split(_context: click.Context, _parameter: click.Parameter, value: Any) -> tuple[str, ...]:
    """`CR,DX,RG`, or the same as a list in the configuration file."""
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(part.strip() for part in parts)


def _load_config(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    """Make the file's values the defaults of all other parameters, so that flags win."""
    if value is not None:
        from batch_fracture.config import read_toml  # noqa: PLC0415 - pyarrow; not for --help

        context.default_map = read_toml(value)


@cli.command()
@click.argument("source", nargs=-1)
@click.option("--results", metavar="URI", help="Folder that takes the tables. Required here or in --config.")
@click.option(
    "--model",
    default="fracatlas-lite0",
    show_default=True,
    metavar="NAME|URI",
    help="Shipped bundle, or a bundle's directory.",
)
@click.option(
    "--config",
    metavar="FILE.toml",
    is_eager=True,
    expose_value=False,
    callback=_load_config,
    help="Flags from a file, under the same names; flags on the command line win.",
)
@click.option("--dry-run", is_flag=True, help="List and plan, say what would be read, write nothing.")
@click.option("--reread", is_flag=True, help="Read every listed image again, settled or not.")
@click.option("--retry-failed", is_flag=True, help="Try all failed images again, final failures too.")
@click.option(
    "--operating-point",
    metavar="NAME|FLOAT",
    help="Named threshold of the bundle, or a number between 0 and 1.  [default: the bundle's]",
)
@click.option("--limit", type=click.IntRange(min=1), help="Read at most this many images now.")
@click.option(
    "--order",
    type=click.Choice(["newest", "oldest", "listed"]),
    default="newest",
    show_default=True,
    help="Which images come first.",
)
@click.option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="Only paths below SOURCE that match; * crosses folders. Repeatable.",
)
@click.option("--exclude", multiple=True, metavar="GLOB", help="No paths that match. Repeatable.")
@click.option(
    "--modalities",
    default="CR,DX,RG",
    show_default=True,
    callback=_split,
    metavar="LIST|all",
    help="DICOM modalities to read.",
)
@click.option(
    "--address",
    default="local",
    show_default=True,
    metavar="local|auto|HOST:PORT",
    help="Ray cluster; local starts one.",
)
@click.option(
    "--engine",
    metavar="NAME",
    help="openvino-fp32 or torch-fp32.  [default: torch where Ray has GPUs, else OpenVINO]",
)
@click.option(
    "--max-failed",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Exit with 3 when a larger share failed.",
)
@click.option(
    "--log-format",
    type=click.Choice(["rich", "plain", "json"]),
    help="How progress is shown.  [default: rich on a terminal, else plain]",
)
@click.option("--json", is_flag=True, help="Print the closing summary as one JSON object on stdout.")
def run(**flags: Any) -> int:
    r"""Read every new or changed image below SOURCE... and commit the rows to a table, all at once.

    Running again reads only what is new or changed. Kill it at any time: the next run goes on.

    \b
    Example:
      batch-fracture run ./radiographs --results ./results
      batch-fracture run --config nightly.toml --limit 10000

    \b
    Exit codes: 0 done; 1 unexpected; 2 usage or configuration; 3 done, but more than --max-failed failed;
    4 stopped on purpose (--limit, Ctrl-C, or another run holds this work): what was complete is committed.
    """
    from batch_fracture.config import RunConfig  # noqa: PLC0415 - not for --help
    from batch_fracture.run import run as run_night  # noqa: PLC0415
    from batch_fracture.screen import open_screen  # noqa: PLC0415
    from batch_fracture.summary import as_dict  # noqa: PLC0415

    config = RunConfig(**{**flags, "results": flags["results"] or ""})
    with open_screen(config.log_format) as screen:
        report = run_night(config, screen)
        screen.finished(report)
    code = report.exit_code(config.max_failed)
    if config.json:
        click.echo(json.dumps({**as_dict(report), "exit_code": code}))
    return code


@cli.command()
@_RESULTS
@click.argument("sql")
@_JSON
def query(results: str, sql: str, *, as_json: bool) -> None:
    r"""Run one SQL statement (DuckDB) on the views readings, latest and runs.

    \b
    Example:
      batch-fracture query --results ./results "SELECT * FROM latest ORDER BY probability DESC LIMIT 9"
    """
    from batch_fracture.query import query as run_query  # noqa: PLC0415 - duckdb; not for --help

    rows = run_query(results, sql)
    if as_json:
        click.echo(json.dumps({"columns": rows.column_names, "rows": rows.to_pylist()}, default=str))
        return
    _print_table(rows)


def _print_table(rows: Any) -> None:
    from rich.console import Console  # noqa: PLC0415 - not for --help
    from rich.table import Table  # noqa: PLC0415

    table = Table(*rows.column_names)
    for row in rows.to_pylist():
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    width = None if sys.stdout.isatty() else 10_000
    console = Console(width=width, markup=False, highlight=False)
    console.print(table)
    console.print(f"{len(rows):,} rows")


@cli.group()
def bundle() -> None:
    r"""Show or verify a model bundle.

    \b
    Example:
      batch-fracture bundle show fracatlas-lite0
    """


@bundle.command("show")
@click.argument("name")
@_JSON
def bundle_show(name: str, *, as_json: bool) -> None:
    r"""Print what a bundle is: architecture, input, operating points, figures.

    \b
    Example:
      batch-fracture bundle show fracatlas-lite0 --json
    """
    from batch_fracture.bundle import describe, open_bundle  # noqa: PLC0415 - not for --help

    description = describe(open_bundle(name))
    if as_json:
        click.echo(json.dumps(description))
        return
    for key, value in description.items():
        click.echo(f"{key:<24} {value if not isinstance(value, dict) else json.dumps(value)}")


@bundle.command("verify")
@click.argument("name")
@_JSON
def bundle_verify(name: str, *, as_json: bool) -> None:
    r"""Check every file of a bundle against its sha256; exit 2 when one differs.

    \b
    Example:
      batch-fracture bundle verify ./my-bundle
    """
    from batch_fracture.bundle import open_bundle  # noqa: PLC0415 - not for --help

    checked = open_bundle(name)
    files = checked.manifest["files"]
    if as_json:
        click.echo(
            json.dumps({"name": checked.name, "digest": checked.digest, "files": files, "verified": True})
        )
        return
    click.echo(f"{checked.name} ({checked.digest[:12]}): all {len(files)} files match their sha256")


@cli.command()
@click.option("--results", metavar="URI", help="Also check this results folder.")
@_JSON
def doctor(results: str | None, *, as_json: bool) -> int:
    r"""Check this machine: versions, cores, GPUs, the engine that runs will use, disk and write access.

    \b
    Example:
      batch-fracture doctor --results ./results
    """
    from batch_fracture.doctor import as_json as checks_as_json
    from batch_fracture.doctor import examine, render  # noqa: PLC0415 - not for --help

    checks = examine(results)
    if as_json:
        click.echo(json.dumps(checks_as_json(checks)))
    else:
        click.echo("\n".join(render(checks)))
    return 1 if any(check.ok is False for check in checks) else 0


@cli.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@_JSON
def demo(folder: Path, *, as_json: bool) -> int:
    r"""Draw a synthetic archive in DIR, run the job on it, show the tables.

    \b
    Example:
      batch-fracture demo ./demo-archive
    """
    from batch_fracture.demo import run_demo  # noqa: PLC0415 - not for --help

    return run_demo(folder, as_json=as_json, print_table=_print_table)
