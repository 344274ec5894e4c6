"""The command `python -m training.labels`: a folder or table of labelled images -> the table to train on."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batch_fracture.durable import put
from batch_fracture.errors import BatchFractureError, ConfigError
from training.labels import LabelledImage, parse, warnings
from training.problems import SHOWN, LabelsError, Problem, refuse

if TYPE_CHECKING:
    from training.checking import Checked
    from training.contents import Look

ENDINGS = (".csv", ".parquet")
TABLE = "table"
LAYOUT_NAMES = ("fracatlas", "fracatlas-subset", "mura", "grazpedwri", "folders", TABLE)
_EPILOG = """\b
Examples:
  python -m training.labels ../shared/radiographs --out labels.csv
  python -m training.labels ./MURA-v1.1 --layout mura --skip-bad --problems problems.txt --out mura.parquet
  python -m training.labels ./my-images --layout folders --group-pattern '(P[0-9]+)_' --split --out labels.csv
  python -m training.labels my-labels.csv --images ./my-images --split --test-share 0.2 --out labels.csv
"""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A folder or table, as it was read."""

    layout: str
    about: str
    rows: list[LabelledImage]
    problems: list[Problem]
    """Of rows whose values are not valid."""
    images: Path
    """What the image_uris start from."""


@click.command(epilog=_EPILOG, context_settings={"max_content_width": 110})
@click.argument("source", metavar="FOLDER|TABLE", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--layout", type=click.Choice(LAYOUT_NAMES), help="How FOLDER is laid out.  [default: recognised]"
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Table to write, .csv or .parquet."
)
@click.option(
    "--images", type=click.Path(path_type=Path), help="Where a TABLE's image_uris start.  [default: .]"
)
@click.option("--group-pattern", metavar="REGEX", help="Its first (group) in an image_uri names the patient.")
@click.option(
    "--split", is_flag=True, help="Deal train and val anew: by group, stratified by label and region."
)
@click.option("--seed", default=0, show_default=True, help="Of --split.")
@click.option(
    "--val-share", default=0.3, show_default=True, help="Share of the images that --split gives val."
)
@click.option("--test-share", default=0.0, show_default=True, help="Likewise test, which only reports.")
@click.option("--skip-bad", is_flag=True, help="Leave rows with problems out, and say which.")
@click.option("--allow-near-duplicates", is_flag=True, help="Look-alikes may contradict each other.")
@click.option("--problems", type=click.Path(path_type=Path), help="File for every problem, one a line.")
def main(
    source: Path, layout: str | None, images: Path | None, out: Path, problems: Path | None, **flags: Any
) -> None:
    """Turn a data set's FOLDER into the table that training takes, or check a TABLE.

    Reads every image. Problems are shown with their rows; with any left, nothing is written.
    """
    from training.checking import Wanted, check, write  # noqa: PLC0415 - --help waits for no decoder

    try:
        wanted = Wanted(**flags)
        if out.suffix not in ENDINGS:
            raise ConfigError(f"--out {out}: its name must end in {' or '.join(ENDINGS)}")
        read = read_source(source, layout, images)
        if wanted.split and any(row.split for row in read.rows):
            print("splits: dealt anew; those of the source are passed over")
        checked = check(read.rows, read.problems, wanted, _progress)
        if checked.left_out:
            _show(checked.left_out, problems, f"{len(checked.left_out):,} problems, their rows left out")
        refuse(source, checked.problems)
        write(out, checked, wanted, source=source, layout=read.layout, about=read.about)
        _summarise(checked, out, read.images)
    except LabelsError as error:
        if error.problems:
            _show(error.problems, problems, f"{len(error.problems):,} problems in {source}")
            remedy = "" if flags["skip_bad"] else ", or leave their rows out with --skip-bad"
            _end(f"error: nothing was written; put the rows right{remedy}", code=error.exit_code)
        _end(f"error: {error}", code=error.exit_code)
    except BatchFractureError as error:
        _end(f"error: {error}", code=error.exit_code)


def read_source(source: Path, layout: str | None, images: Path | None) -> Source:
    """Read a folder by its layout, or a table.

    Args:
        source: folder or file.
        layout: one of `LAYOUT_NAMES`; None to recognise it.
        images: for tables.

    Raises:
        LabelsError: the source cannot be read, or has no layout that is known.
        ConfigError: a flag does not fit the source.
    """
    kind = "file" if source.is_file() else "folder"
    if layout and source.is_file() != (layout == TABLE):
        raise ConfigError(f"--layout {layout}: {source} is a {kind}")
    if source.is_file():
        rows, problems = parse(source, images or Path())
        return Source(layout=TABLE, about="", rows=rows, problems=problems, images=images or Path())
    if images:
        raise ConfigError("--images goes with a TABLE; the images of a FOLDER lie below it")
    from training.datasets import LAYOUTS, recognise  # noqa: PLC0415 - only folders need the readers

    found = LAYOUTS[layout] if layout else recognise(source)
    print(f"layout: {found.name}{'' if layout else ', recognised by its files (--layout names another)'}")
    print(found.about)
    return Source(layout=found.name, about=found.about, rows=found.read(source), problems=[], images=source)


def _progress(looks: Iterable[Look | Problem], length: int) -> Iterable[Look | Problem]:
    """A bar on a terminal, one line elsewhere."""
    with click.progressbar(looks, length=length, label=f"reading {length:,} images", file=sys.stderr) as bar:
        yield from bar


def _summarise(checked: Checked, out: Path, images: Path) -> None:
    rows = checked.rows
    boxed = [row for row in rows if row.boxes]
    num_boxes = sum(len(row.boxes) for row in rows)
    print(f"wrote {out}: {_counts(rows)}, {num_boxes:,} boxes on {len(boxed):,} images")
    for split in [split for split in ("train", "val", "test") if any(row.split == split for row in rows)]:
        print(f"  {split}: {_counts([row for row in rows if row.split == split])}")
    regions = Counter(row.region for row in rows)
    if set(regions) != {""}:
        named = [f"{name or 'unknown'} {num:,}" for name, num in regions.most_common()]
        print(f"  regions: {', '.join(named)}")
    if checked.num_joined:
        print(f"  {checked.num_joined:,} groups were joined to others with the same picture")
    for warning in warnings(rows):
        print(f"warning: {warning}")
    print(
        f"train on it: python -m training.train --config CONFIG --labels {out} --images {images} --out BUNDLE"
    )


def _counts(rows: Sequence[LabelledImage]) -> str:
    fractured = sum(row.label for row in rows)
    return f"{len(rows):,} images, {fractured:,} with label 1, {len({row.group for row in rows}):,} groups"


def _show(problems: Sequence[Problem], file: Path | None, headline: str) -> None:
    """The first problems, and where the others are."""
    if file:
        put(file, "".join(f"{problem.text}\n" for problem in problems).encode())
    click.echo(f"{headline}:", err=True)
    for problem in problems[:SHOWN]:
        click.echo(f"  {problem.text}", err=True)
    if len(problems) > SHOWN:
        where = f"all of them: {file}" if file else "--problems FILE takes them all"
        click.echo(f"  and {len(problems) - SHOWN:,} more ({where})", err=True)


def _end(line: str, *, code: int) -> None:
    click.echo(line, err=True)
    sys.exit(code)
