"""`batch-fracture run`: its flags, and nothing of its work. Heavy imports wait until it runs."""

from __future__ import annotations

import json
from typing import Any

import click

from batch_fracture.cli_options import S3_ENDPOINT
from batch_fracture.settings import ReadingSettings


def _split(_context: click.Context, _parameter: click.Parameter, value: Any) -> tuple[str, ...]:
    """`CR,DX,RG`, or the same as a list in the configuration file."""
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(part.strip() for part in parts)


def _load_config(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    """Make the file's values the defaults of all other parameters, so that flags win."""
    if value is not None:
        from batch_fracture.config import read_toml

        context.default_map = read_toml(value)


@click.command()
@click.argument("source", nargs=-1)
@click.option(
    "--results",
    metavar="URI",
    help="Folder or s3://BUCKET/PREFIX that takes the tables. Required here or in --config.",
)
@click.option(
    "--model",
    default="fracatlas-evidence",
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
    "--deadline", metavar="HH:MM", help="Begin no work after this time of day; commit what is complete."
)
@click.option("--max-runtime", metavar="6h", help="Begin no work after so long: 6h, 90m, 1h30m.")
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
    "--max-pixels",
    type=click.IntRange(min=1),
    default=ReadingSettings.max_pixels,
    show_default=True,
    help="Larger images are TOO_LARGE.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(min=1),
    default=ReadingSettings.max_bytes,
    show_default=True,
    help="Larger files are TOO_LARGE, and deflated DICOM that inflates to more.",
)
@click.option(
    "--max-inflation",
    type=click.IntRange(min=1),
    default=ReadingSettings.max_inflation,
    show_default=True,
    help="Deflated DICOM that inflates more than so many times, and beyond 64 MiB, is TOO_LARGE.",
)
@click.option(
    "--time-limit-s",
    type=click.FloatRange(min=0, min_open=True),
    default=ReadingSettings.time_limit_s,
    show_default=True,
    help="Seconds of decoding after which an image is TIMED_OUT.",
)
@click.option(
    "--memory-limit-bytes",
    type=click.IntRange(min=2**30),
    default=ReadingSettings.memory_limit_bytes,
    show_default=True,
    help="Address space of the process that reads an image alone, which killed a worker before.",
)
@S3_ENDPOINT
@click.option(
    "--pseudonym-key-file",
    metavar="FILE",
    help="Put pseudonyms under this key in the place of names and UIDs; real ones go to URI/links/.",
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
    help="openvino-fp32, -mixed, -bf16 or -fp16; torch-fp32, -tf32, -bf16 or -fp16.  "
    "[default: the fastest that keeps the bundle's answers]",
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
@click.option(
    "--explain", is_flag=True, help="Say at the end where the time went, and what would make it faster."
)
@click.option("--json", is_flag=True, help="Print the closing summary as one JSON object on stdout.")
def run(**flags: Any) -> int:
    """Read every new or changed image below SOURCE... and commit the rows to a table, all at once.

    A SOURCE is a folder, a file, s3://BUCKET/PREFIX (or gs://, az://), a CSV or Parquet list of images with a
    column image_uri, or the manifest.json of an S3 Inventory.

    Running again reads only what is new or changed. Kill it at any time: the next run goes on.

    \b
    Example:
      batch-fracture run ./radiographs --results ./results
      batch-fracture run --config nightly.toml --limit 10000

    \b
    Exit codes: 0 done; 1 unexpected, or a store is out of reach; 2 usage or configuration;
    3 done, but more than --max-failed failed; 4 stopped on purpose (--limit, --deadline, --max-runtime,
    Ctrl-C, or another run holds this work): what was complete is committed.
    """
    from batch_fracture.config import RunConfig
    from batch_fracture.run import run as run_night
    from batch_fracture.screen import open_screen
    from batch_fracture.summary import as_dict

    config = RunConfig(**{**flags, "results": flags["results"] or ""})
    with open_screen(config.log_format) as screen:
        report = run_night(config, screen)
        screen.finished(report)
    code = report.exit_code(config.max_failed)
    if config.json:
        click.echo(json.dumps({**as_dict(report), "exit_code": code}))
    return code
