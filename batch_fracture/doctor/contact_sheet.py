"""The contact sheet: what the network sees of an archive, on one page, for a person to look at.

Upright? White bones on black? Well windowed? No figure answers that as fast as a look does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont

from batch_fracture import schema, store
from batch_fracture.bundle import open_bundle
from batch_fracture.codes import Status
from batch_fracture.errors import ConfigError, SourceError
from batch_fracture.isolate import read_isolated
from batch_fracture.preprocess import InputSpec
from batch_fracture.settings import ReadingSettings
from batch_fracture.store import Access
from batch_fracture.store.sources import outermost

Row = dict[str, Any]

MAX_TILES = 60
MAX_LOOKED_AT = 1200
"""Of an archive with few radiographs; most images that are skipped cost a header only."""
_NUM_CHILDREN = 2
_COLUMNS, _MAX_SIDE, _GAP, _LINE = 10, 240, 8, 14
"""Tiles in a row; pixels."""
_PAPER, _INK, _FAINT, _ALARM = 32, (235, 235, 235), (150, 150, 150), (255, 120, 100)
_FONT_SIZE = 12


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What was drawn."""

    path: str
    listed: int
    looked_at: int
    """Evenly spread over the listed ones; fewer when the sheet was full before."""
    outcomes: dict[str, int]
    """`read`, and the codes of what was not read, with their counts among those looked at."""


def draw_contact_sheet(
    source: str,
    path: Path,
    *,
    model: str,
    settings: ReadingSettings,
    access: Access = store.FROM_ENVIRONMENT,
) -> Sheet:
    """Draw a PNG of up to 60 images, exactly as a run would hand them to the network.

    Images are read in child processes, as a run's second pass reads them, so no file ends the command. Those
    that failed have a tile with their code; those that were skipped are counted.

    Args:
        source: as a run takes it: a folder, a bucket's prefix, a list.
        path: of the PNG; a file that is there is replaced.
        model: name or place of the bundle whose input is drawn.
        settings: limits and modalities.
        access: how buckets are reached.

    Raises:
        SourceError: there is nothing to draw.
        ConfigError: the PNG cannot be written.
        BundleError: the model is none.
    """
    bundle = open_bundle(model)
    listing = store.list_images(outermost((source,)), access=access)
    if not len(listing):
        raise SourceError(f"source {source!r}: there are no images to draw")
    tiles, outcomes = _look(_read(spread(listing), bundle.input, settings, access))
    sheet = Sheet(
        path=str(path),
        listed=len(listing),
        looked_at=outcomes.total(),
        outcomes=dict(sorted(outcomes.items(), key=lambda item: (item[0] != Status.READ, item[0]))),
    )
    title = f"{source}, as {bundle.name} sees it at {bundle.input.size} x {bundle.input.size}: {said(sheet)}"
    _save(_page(tiles, bundle.input, title), path)
    return sheet


def _look(rows: Iterator[Row]) -> tuple[list[Row], Counter[str]]:
    """Rows to draw, by name, until the sheet is full; and what became of all that were looked at."""
    tiles: list[Row] = []
    outcomes: Counter[str] = Counter()
    for row in rows:
        outcomes[row["error_code"] or row["status"]] += 1
        if row["status"] != Status.SKIPPED:
            tiles.append(row)
        if len(tiles) == MAX_TILES:
            break
    return sorted(tiles, key=lambda row: str(row["image_uri"])), outcomes


def said(sheet: Sheet) -> str:
    """The sheet's counts in one line."""
    counts = ", ".join(f"{count:,} {outcome}" for outcome, count in sheet.outcomes.items())
    return f"{sheet.looked_at:,} of {sheet.listed:,} files looked at, {counts}"


def spread(listing: pa.Table) -> pa.Table:
    """As many files as are looked at, evenly spread, in an order in which every beginning is spread, too."""
    places = np.unique(np.linspace(0, len(listing) - 1, min(len(listing), MAX_LOOKED_AT)).astype(np.int64))
    return listing.take(pa.array(np.random.default_rng(0).permutation(places)))


def _read(listing: pa.Table, spec: InputSpec, settings: ReadingSettings, access: Access) -> Iterator[Row]:
    numbered = listing.append_column("reading_id", pa.array(map(str, range(len(listing))), pa.string()))
    manifest = numbered.append_column("unit", pa.array([0] * len(listing), pa.int32()))
    read = read_isolated(
        manifest.cast(schema.MANIFEST), spec, settings, num_children=_NUM_CHILDREN, access=access
    )
    for table in read:
        yield from table.to_pylist()


def _page(tiles: list[Row], spec: InputSpec, title: str) -> Image.Image:
    side, num_rows = min(spec.size, _MAX_SIDE), max(1, -(-len(tiles) // _COLUMNS))
    width, height = side + _GAP, side + 2 * _LINE + _GAP
    page = Image.new(
        "RGB", (_COLUMNS * width + _GAP, num_rows * height + 2 * _LINE + _GAP), (_PAPER, _PAPER, _PAPER)
    )
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(_FONT_SIZE)
    pen.text((_GAP, _GAP), _fit(title, page.width - 2 * _GAP, font), _INK, font)
    for number, row in enumerate(tiles):
        left, top = _GAP + number % _COLUMNS * width, 2 * _LINE + _GAP + number // _COLUMNS * height
        _tile(page, row, spec, (left, top, side))
        name = str(row["image_uri"]).rsplit("/", 1)[-1]
        pen.text((left, top + side), _fit(name, side, font), _INK, font)
        pen.text((left, top + side + _LINE), _fit(_description(row), side, font), _FAINT, font)
        if row["status"] != Status.READ:
            pen.text((left + side / 2, top + side / 2), row["error_code"], _ALARM, font, anchor="mm")
    return page


def _tile(page: Image.Image, row: Row, spec: InputSpec, place: tuple[int, int, int]) -> None:
    left, top, side = place
    if row["pixels"] is None:
        page.paste((0, 0, 0), (left, top, left + side, top + side))
        return
    pixels_SS = np.frombuffer(row["pixels"], np.uint8).reshape(spec.size, spec.size)
    page.paste(Image.fromarray(pixels_SS).resize((side, side), Image.Resampling.LANCZOS), (left, top))


def _description(row: Row) -> str:
    """What decides how it looks: kind, polarity, size, depth."""
    kind = row["modality"] or str(row["media_type"] or "").removeprefix("image/").upper()
    size = f"{row['columns']} x {row['rows']}" if row["rows"] and row["columns"] else ""
    bits = f"{row['bits_stored']} bits" if row["bits_stored"] else ""
    return "  ".join(filter(None, (kind, row["photometric_interpretation"], size, bits)))


def _fit(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Printable, and cut in its middle to a width in pixels."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    kept = len(text)
    while font.getlength(_cut(text, kept)) > width and kept > 1:
        kept -= 1
    return _cut(text, kept)


def _cut(text: str, kept: int) -> str:
    return text if kept >= len(text) else f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"


def _save(page: Image.Image, path: Path) -> None:
    try:
        page.save(path, "PNG")
    except OSError as error:
        raise ConfigError(
            f"{str(path)!r} cannot be written ({error.strerror}); name another with --out"
        ) from error
