"""`batch-fracture demo`: a synthetic archive, the real job on it, and the tables that come out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pyarrow as pa

from batch_fracture.config import RunConfig
from batch_fracture.errors import ConfigError
from batch_fracture.query import query
from batch_fracture.run import run
from batch_fracture.screen import open_screen
from batch_fracture.summary import as_dict
from batch_fracture.synthetic import draw_archive

NOTICE = (
    "All pictures of this demo are SYNTHETIC: phantoms drawn by a program, no patient's radiograph.\n"
    "The model was trained on real radiographs, so its scores on them mean nothing."
)
FIRST_QUERY = "SELECT * FROM latest LIMIT 5"
TABLES = (
    (
        "What became of every file",
        "SELECT status, error_code, media_type, count(*) AS files FROM latest GROUP BY ALL ORDER BY ALL",
    ),
    (
        "The highest probabilities",
        "SELECT regexp_extract(image_uri, '[^/]*$') AS file, rows, columns, modality, body_part_examined, "
        "format('{:.3f}', probability) AS probability, fracture "
        "FROM latest WHERE status = 'read' ORDER BY latest.probability DESC LIMIT 8",
    ),
    (
        "The runs",
        "SELECT run_id, outcome, listed, unchanged, read, skipped, failed, not_reached, positive "
        "FROM runs ORDER BY ended_at",
    ),
)


def run_demo(folder: Path, *, as_json: bool, print_table: Callable[[pa.Table], None]) -> int:
    """Draw the archive (once), run, show.

    Args:
        folder: new, empty, or from an earlier demo.
        as_json: print one JSON object last.
        print_table: shows a query's rows.

    Returns:
        The exit code: damaged files are part of the demo, so 0 when the run completed.

    Raises:
        ConfigError: the folder holds something else.
    """
    click.echo(NOTICE)
    reads = folder / "reads.csv"
    if not reads.exists():
        _refuse_other_content(folder)
        click.echo(f"drawing a synthetic archive in {folder / 'archive'}")
        draw_archive(folder)
    results = folder / "results"
    config = RunConfig(source=(str(folder / "archive"),), results=str(results), max_failed=1.0)
    with open_screen(None) as screen:
        report = run(config, screen)
        screen.finished(report)
    for title, sql in TABLES:
        click.echo(f"\n{title}")
        print_table(query(str(results), sql))
    click.echo(f"\nYour turn:   batch-fracture query --results {results} '{FIRST_QUERY}'")
    click.echo("Your images: batch-fracture run FOLDER --results OTHER_FOLDER")
    if as_json:
        click.echo(json.dumps({**as_dict(report), "archive": str(folder / "archive"), "reads": str(reads)}))
    return report.exit_code(config.max_failed)


def _refuse_other_content(folder: Path) -> None:
    try:
        strangers = sorted(p.name for p in folder.iterdir() if p.name not in ("archive", "README.txt"))
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"demo folder {str(folder)!r}: {error.strerror}; name a new folder") from error
    if strangers:
        raise ConfigError(
            f"demo folder {str(folder)!r} holds {strangers[0]!r}; name a new or an empty folder"
        )
