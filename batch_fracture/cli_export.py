"""`batch-fracture export`: its flags, its progress, what it prints. Heavy imports wait until it runs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from batch_fracture.cli_options import JSON, S3_ENDPOINT

LINE_EVERY_S = 10.0


@click.command()
@click.option("--results", metavar="URI", help="Folder that `run` wrote its tables to, on disk or s3://.")
@click.option("--out", metavar="DIR", help="New or empty folder on a disk that takes the copy.")
@click.option(
    "--as-of",
    metavar="TIME|VERSION",
    help="A version such as 12, or the newest one committed by a time: 2026-11-23 (the end of that day, UTC) "
    "or 2026-11-23T06:00:00+01:00 (UTC when it names no offset).  [default: the newest version]",
)
@S3_ENDPOINT
@click.option(
    "--verify", metavar="DIR", help="Only check the sealed copy in DIR; the results are not needed."
)
@JSON
def export(**flags: Any) -> None:
    """Write a sealed plain-Parquet copy of one version of the table, with the sha256 of every file.

    DIR gets the version's files byte for byte, the records of the runs behind it, export.json and SHA256SUMS;
    all is read back before DIR appears. Real names behind pseudonyms (links/) are never exported.
    `sha256sum -c SHA256SUMS` in DIR checks the files; --verify also counts their rows against the log's.

    \b
    Example:
      batch-fracture export --results ./results --out ./audit-2026-q4 --as-of 2026-12-31
      batch-fracture export --verify ./audit-2026-q4
    """
    done = _verify(flags) if flags["verify"] else _export(flags)
    summary = {name: value for name, value in done.about.items() if name != "files"}
    summary |= {
        "folder": str(done.folder),
        "files": done.num_files,
        "size_bytes": done.num_bytes,
        "seal": done.seal,
        "doubtful_runs": list(done.doubtful_runs),
        "verified": True,
    }
    if flags["as_json"]:
        click.echo(json.dumps(summary))
        return
    _print(summary)


def _verify(flags: dict[str, Any]) -> Any:
    from pathlib import Path

    from batch_fracture.sealed import check

    if given := [f"--{name.replace('_', '-')}" for name in ("results", "out", "as_of") if flags[name]]:
        raise click.UsageError(f"--verify checks a copy on its own; leave out {', '.join(given)}")
    return check(Path(flags["verify"]), _Progress("checked"))


def _export(flags: dict[str, Any]) -> Any:
    from batch_fracture.export import export as write
    from batch_fracture.results.home import find_home
    from batch_fracture.store import Access

    for name in ("results", "out"):
        if not flags[name]:
            raise click.UsageError(f"no --{name}; give --results and --out, or --verify")
    home = find_home(flags["results"], access=Access(s3_endpoint=flags["s3_endpoint"]))
    return write(
        home, flags["out"], as_of=flags["as_of"], copied=_Progress("copied"), checked=_Progress("checked")
    )


def _print(summary: dict[str, Any]) -> None:
    statuses = ", ".join(f"{count:,} {status}" for status, count in summary["statuses"].items())
    click.echo(f"sealed copy {summary['folder']}")
    click.echo(f"  of         {summary['results']}")
    click.echo(f"  version    {summary['table_version']}, committed {summary['committed_at']}")
    click.echo(f"  rows       {summary['rows']:,}" + f" = {statuses}" * bool(statuses))
    click.echo(
        f"  checked    {summary['files']:,} files ({summary['size_bytes']:,} bytes) match their sha256;"
    )
    click.echo("             rows of every file, in all and by status are those of the table's log")
    click.echo(f"  runs       {summary['runs']:,} records")
    if summary["doubtful_runs"]:
        first, *more = summary["doubtful_runs"]
        others = f" and {len(more):,} more runs" if more else ""
        click.echo(
            f"  ATTENTION  {first}{others}: the record is missing, or counts other rows than there are"
        )
    click.echo(f"  seal       {summary['seal']}")
    click.echo("             (sha256 of SHA256SUMS; note it elsewhere to tell this copy from any other)")


class _Progress:
    """On stderr: one line that changes on a terminal, elsewhere a line every ten seconds."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._shown = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Show bytes done, when it is time."""
        on_terminal = sys.stderr.isatty()
        last = done >= total
        if not (on_terminal and last) and time.monotonic() - self._shown < (
            0.1 if on_terminal else LINE_EVERY_S
        ):
            return
        self._shown = time.monotonic()
        share = done / total if total else 1.0
        text = f"{self._word} {done / 1e6:,.1f} of {total / 1e6:,.1f} MB ({share:.0%})"
        click.echo(f"\r{text}" if on_terminal else text, err=True, nl=not on_terminal or last)
