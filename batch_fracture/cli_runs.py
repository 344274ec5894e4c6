"""`batch-fracture runs`: look at runs, give up dead ones, remove their rests."""

from __future__ import annotations

import json
from typing import Any

import click

from batch_fracture.cli_options import JSON, S3_ENDPOINT


@click.group()
@click.option("--results", required=True, metavar="URI", help="Location that `run` wrote its tables to.")
@S3_ENDPOINT
@click.pass_context
def runs(context: click.Context, results: str, s3_endpoint: str | None) -> None:
    """Look at the runs of a results location, give up dead ones, remove their rests.

    \b
    Example:
      batch-fracture runs --results ./results list
    """
    from batch_fracture.results.home import find_home
    from batch_fracture.store import Access

    context.obj = find_home(results, access=Access(s3_endpoint=s3_endpoint))


@runs.command("list")
@JSON
@click.pass_obj
def runs_list(home: Any, *, as_json: bool) -> None:
    """Ended runs with their counts, and those that are under way or were cut off.

    \b
    Example:
      batch-fracture runs --results ./results list
    """
    from batch_fracture.runs import list_runs
    from batch_fracture.screen import print_table

    rows = list_runs(home)
    if as_json:
        click.echo(json.dumps({"runs": rows.to_pylist()}, default=str))
    else:
        print_table(rows)


@runs.command("show")
@click.argument("run_id")
@JSON
@click.pass_obj
def runs_show(home: Any, run_id: str, *, as_json: bool) -> None:
    """All that is known of one run.

    \b
    Example:
      batch-fracture runs --results ./results show 20261123-ced9856aa8ac245d
    """
    from batch_fracture.runs import show_run

    found = show_run(home, run_id)
    if as_json:
        click.echo(json.dumps(found, default=str))
        return
    for key, value in found.items():
        click.echo(f"{key:<20} {', '.join(value) if isinstance(value, list) else value}")


@runs.command("abandon")
@click.argument("run_id")
@JSON
@click.pass_obj
def runs_abandon(home: Any, run_id: str, *, as_json: bool) -> None:
    """Give up a run that was cut off: what it read and did not commit is removed.

    A run that somebody is doing is left alone (exit code 4). Images of an abandoned run are read anew by the
    next one.

    \b
    Example:
      batch-fracture runs --results ./results abandon 20261123-ced9856aa8ac245d
    """
    from batch_fracture.runs import abandon_run

    committed = abandon_run(home, run_id)
    said = "was committed: its rows stay, its work folder was removed" if committed else "is abandoned"
    click.echo(json.dumps({"run_id": run_id, "committed": committed}) if as_json else f"run {run_id} {said}")


@runs.command("clean")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@JSON
@click.pass_obj
def runs_clean(home: Any, *, dry_run: bool, as_json: bool) -> None:
    """Remove what runs that died left behind; runs under way and committed files are never touched.

    \b
    Example:
      batch-fracture runs --results ./results clean --dry-run
    """
    from batch_fracture.runs import clean

    rests = clean(home, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps({"removed": [rest.name for rest in rests], "dry_run": dry_run}))
        return
    for rest in rests:
        click.echo(f"{'would remove' if dry_run else 'removed'} {rest.name}: {rest.why}")
    if not rests:
        click.echo("nothing to clean")
