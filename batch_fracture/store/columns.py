"""Listings as Arrow columns: an archive of millions of objects never becomes millions of Python objects."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from fnmatch import translate
from re import compile as compile_pattern
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from batch_fracture import schema
from batch_fracture.codes import Code
from batch_fracture.errors import SourceError

BATCH_ROWS = 50_000
"""Rows that are held as Python objects at once."""
UNLISTED = "unlisted"
"""The version of what is known by name only."""


class Patterns:
    """Which objects a listing keeps, by shell patterns on the path below the source; `*` crosses folders.

    Args:
        include: an object matches one of these; empty for all.
        exclude: and none of these.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = [compile_pattern(translate(pattern)) for pattern in include]
        self._exclude = [compile_pattern(translate(pattern)) for pattern in exclude]

    def __bool__(self) -> bool:
        return bool(self._include or self._exclude)

    def keep(self, below: str) -> bool:
        """Whether an object is listed; `below` is its path below the source."""
        if self._include and not any(pattern.match(below) for pattern in self._include):
            return False
        return not any(pattern.match(below) for pattern in self._exclude)


class Listing:
    """Collects rows of `schema.LISTING` from any thread, then sorts them and drops repetitions.

    Args:
        secret: no message may name an object.
    """

    def __init__(self, *, secret: bool = False) -> None:
        self._secret = secret
        self._batches: list[pa.RecordBatch] = []
        self._names: defaultdict[str, set[bytes]] = defaultdict(set)
        self._lock = threading.Lock()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows."""
        with self._lock:
            self._batches.append(batch)

    def unreadable(self, name: bytes) -> str:
        r"""The UTF-8 form of a name that is none, with `\xNN` for each such byte; two must not share it."""
        shown = name.decode("utf-8", "backslashreplace")
        with self._lock:
            self._names[shown].add(name)
        return shown

    def table(self) -> pa.Table:
        """Every object once, sorted by image_uri; of a repeated one the row without a code, then the newest.

        Raises:
            SourceError: two objects have one name in UTF-8.
        """
        table = pa.Table.from_batches(self._batches, schema.LISTING)
        self._batches = []
        table = table.take(pc.sort_indices(table, sort_keys=[("image_uri", "ascending")]))
        pa.default_memory_pool().release_unused()  # of a million rows, 260 MB that the plan will want
        if _repeats(table) is None:
            return table
        self._refuse_shared_names(table)
        coded = pc.is_valid(table["listing_code"])
        order = [("image_uri", "ascending"), ("coded", "ascending"), ("modified_at", "descending")]
        table = table.append_column("coded", coded).sort_by(order).drop_columns("coded")
        return table.filter(pc.invert(pa.concat_arrays([pa.array([False]), _repeats(table)])))

    def _refuse_shared_names(self, table: pa.Table) -> None:
        shared = [shown for shown, names in self._names.items() if len(names) > 1]
        if not shared and self._names:
            odd = pc.equal(table["listing_code"], Code.NAME_UNREADABLE.value).fill_null(False)
            named = pc.is_in(table["image_uri"], value_set=table["image_uri"].filter(odd).combine_chunks())
            shared = table["image_uri"].filter(pc.and_not(named, odd)).to_pylist()
        if shared:
            named = "" if self._secret else f", such as {shared[0]!r}"
            raise SourceError(
                f"{len(shared):,} names stand for two objects each once they are written in UTF-8{named}; "
                "rename those that are not valid UTF-8"
                + "; a --dry-run without --pseudonym-key-file names one"
                * self._secret
            )


class Buffer:
    """Rows that come one by one, handed to a listing in batches; `with` hands over the rest."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._rows: list[Sequence[Any]] = []

    def add(self, row: Sequence[Any]) -> None:
        """Take a row, in the column order of `schema.LISTING`."""
        self._rows.append(row)
        if len(self._rows) == BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Hand over what has been collected."""
        columns = list(zip(*self._rows, strict=True)) or [()] * len(schema.LISTING)
        self._rows = []
        self._listing.add(batch_of(columns))

    def __enter__(self) -> Buffer:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.flush()


def batch_of(columns: Sequence[Any]) -> pa.RecordBatch:
    """Five columns, as arrays or Python sequences, as a batch of `schema.LISTING`."""
    arrays = [
        column.cast(field.type) if isinstance(column, pa.Array) else pa.array(column, field.type)
        for column, field in zip(columns, schema.LISTING, strict=True)
    ]
    return pa.record_batch(arrays, schema=schema.LISTING)


def objects_of(
    uris: Sequence[str],
    versions: pa.Array,
    sizes: pa.Array,
    times: pa.Array,
    codes: Sequence[str | None] | None = None,
) -> pa.RecordBatch:
    """Objects of a bucket as a batch of `schema.LISTING`.

    Args:
        uris: string, one per object.
        versions: string; ETags, with or without their quotes.
        sizes: int64, bytes.
        times: timestamp or ISO 8601 string.
        codes: what else is known of some of them, such as `NAME_UNREADABLE`.

    Returns:
        The batch; empty keys that end in `/`, as consoles make them for folders, carry `NOT_AN_IMAGE`.
    """
    named = pa.array(uris, pa.string())
    marker = pc.and_(pc.ends_with(named, "/"), pc.equal(sizes, 0).fill_null(False))
    found = pc.if_else(marker, Code.NOT_AN_IMAGE.value, pa.scalar(None, pa.string()))
    if codes is not None:
        found = pc.coalesce(pa.array(codes, pa.string()), found)
    return batch_of([named, bare_etags(versions), sizes, times, found])


def bare_etags(etags: pa.Array) -> pa.Array:
    """ETags without the quotes around them; a weak one (`W/"x"`, RFC 9110 section 8.8.3) stays as it is."""
    return pc.replace_substring_regex(etags, pattern='^"(.*)"$', replacement=r"\1")


def _repeats(table: pa.Table) -> pa.Array | None:
    """For each row but the first whether it has the name of the row before; None when there is none."""
    uris = table["image_uri"]
    if len(uris) < 2:
        return None
    same = pc.equal(uris.slice(1), uris.slice(0, len(uris) - 1))
    return same.combine_chunks() if pc.any(same).as_py() else None
