"""The command line: each command parses, calls the library, prints. Heavy imports wait for the command."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batch_fracture import __version__
from batch_fracture.cli_doctor import doctor
from batch_fracture.cli_export import export
from batch_fracture.cli_options import JSON, S3_ENDPOINT
from batch_fracture.cli_run import run
from batch_fracture.cli_runs import runs
from batch_fracture.errors import BatchFractureError

if TYPE_CHECKING:
    from batch_fracture.bundle import Bundle

INTERRUPTED = 4
_RESULTS = click.option(
    "--results", required=True, metavar="URI", help="Folder or s3:// location that `run` wrote to."
)


def main() -> None:
    """Entry point: maps every ending to one line and the exit code of the design."""
    try:
        code = cli.main(standalone_mode=False, prog_name="batch-fracture")
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _end(f"error: {error.format_message()}".replace("\n", " "), code=2)
    except BatchFractureError as error:
        _end(f"error: {error}", code=error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _end("interrupted at once; run the same command again to go on", code=INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last resort: one line here, the traceback in a file
        _end(f"unexpected error: {type(error).__name__}; traceback: {_write_traceback()}", code=1)
    sys.exit(code if isinstance(code, int) else 0)


def _end(line: str, *, code: int) -> None:
    click.echo(line, err=True)
    sys.exit(code)


def _write_traceback() -> str:
    """The file, which only its owner may read: texts of exceptions can name images."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="batch-fracture-", suffix=".txt", delete=False) as file:
        traceback.print_exc(file=file)
    return file.name


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="batch-fracture")
def cli() -> None:
    """Re-read archives of bone radiographs: images in, an audited Parquet table out.

    For retrospective quality audits, not for diagnosis.

    \b
    Example:
      batch-fracture run /archive/radiographs --results /data/readings
      batch-fracture query --results /data/readings "SELECT status, count(*) FROM readings GROUP BY ALL"
    """


cli.add_command(run)
cli.add_command(runs)
cli.add_command(export)
cli.add_command(doctor)


@cli.command()
@_RESULTS
@S3_ENDPOINT
@click.argument("sql")
@JSON
def query(results: str, s3_endpoint: str | None, sql: str, *, as_json: bool) -> None:
    """Run one SQL statement (DuckDB) on the views readings, latest, latest_by_study and runs.

    \b
    Example:
      batch-fracture query --results ./results "SELECT * FROM latest ORDER BY probability DESC LIMIT 9"
    """
    from batch_fracture.query import plain_rows
    from batch_fracture.query import query as run_query
    from batch_fracture.screen import print_table
    from batch_fracture.store import Access

    rows = run_query(results, sql, Access(s3_endpoint=s3_endpoint))
    if as_json:
        click.echo(json.dumps({"columns": rows.column_names, "rows": plain_rows(rows)}, default=str))
        return
    print_table(rows)


@cli.group()
def bundle() -> None:
    """Show or verify a model bundle.

    \b
    Example:
      batch-fracture bundle show fracatlas-lite0
    """


@bundle.command("show")
@click.argument("name")
@JSON
def bundle_show(name: str, *, as_json: bool) -> None:
    """Print what a bundle is: architecture, input, operating points, figures.

    \b
    Example:
      batch-fracture bundle show fracatlas-lite0 --json
    """
    from batch_fracture.bundle import open_bundle

    description = describe(open_bundle(name))
    if as_json:
        click.echo(json.dumps(description))
        return
    for key, value in description.items():
        click.echo(f"{key:<24} {value if not isinstance(value, dict) else json.dumps(value)}")


def describe(found: Bundle) -> dict[str, Any]:
    """What `bundle show` prints: name, architecture, input_size, digest, operating points, evaluation."""
    manifest = found.manifest
    return {
        "name": found.name,
        "architecture": found.architecture,
        "head": found.head,
        "input_size": found.input.size,
        "mirror": found.mirror,
        "closer": found.closer,
        "fp32_stride": found.fp32_stride,
        "others": [asdict(other) for other in found.others],
        "digest": found.digest,
        "path": str(found.path),
        "size_bytes": sum(file.stat().st_size for file in found.path.iterdir()),
        "default_operating_point": found.default_operating_point,
        "operating_points": manifest["operating_points"],
        "calibration": manifest["calibration"],
        "evaluation": manifest.get("evaluation", {}),
        "training": manifest.get("training", {}),
    }


@bundle.command("verify")
@click.argument("name")
@JSON
def bundle_verify(name: str, *, as_json: bool) -> None:
    """Check every file of a bundle against its sha256; exit 2 when one differs.

    \b
    Example:
      batch-fracture bundle verify ./my-bundle
    """
    from batch_fracture.bundle import open_bundle

    checked = open_bundle(name)
    files = checked.manifest["files"]
    if as_json:
        click.echo(
            json.dumps({"name": checked.name, "digest": checked.digest, "files": files, "verified": True})
        )
        return
    click.echo(f"{checked.name} ({checked.digest[:12]}): all {len(files)} files match their sha256")


@cli.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@JSON
def demo(folder: Path, *, as_json: bool) -> int:
    """Draw a synthetic archive in DIR, run the job on it, show the tables.

    \b
    Example:
      batch-fracture demo ./demo-archive
    """
    from batch_fracture.demo import run_demo
    from batch_fracture.screen import print_table

    return run_demo(folder, as_json=as_json, print_table=print_table)
