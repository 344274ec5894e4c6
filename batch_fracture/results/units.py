"""Unit files: the checkpoints of a run, and the files of the table once committed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from batch_fracture import schema
from batch_fracture.codes import Status
from batch_fracture.errors import BooksError
from batch_fracture.failpoints import step
from batch_fracture.privacy import PseudonymKey, links, pseudonymise
from batch_fracture.results import parquet
from batch_fracture.results.manifest import Manifest
from batch_fracture.results.work import WorkFolder

COUNTED = ("status", "error_code", "fracture", "engine")
_DIGEST = b"batch_fracture.reading_ids"


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Rows by what became of them."""

    read: int = 0
    skipped: int = 0
    failed: int = 0
    positive: int = 0
    """Of the read ones, those with `fracture` true."""
    codes: Counter[str] = field(default_factory=Counter)
    """Skipped and failed rows by `error_code`."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            read=self.read + other.read,
            skipped=self.skipped + other.skipped,
            failed=self.failed + other.failed,
            positive=self.positive + other.positive,
            codes=self.codes + other.codes,
        )

    @property
    def rows(self) -> int:
        """All of them."""
        return self.read + self.skipped + self.failed


def tally(rows: pa.Table) -> Tally:
    """Count rows, which hold at least the columns `COUNTED`."""
    counts = {entry["values"].as_py(): entry["counts"].as_py() for entry in pc.value_counts(rows["status"])}
    if unknown := set(counts) - set(Status):
        raise BooksError(f"rows have the status {sorted(map(str, unknown))}, which does not exist")
    return Tally(
        **{status.value: counts.get(status.value, 0) for status in Status},
        positive=pc.sum(rows["fracture"]).as_py() or 0,
        codes=Counter(rows["error_code"].drop_null().to_pylist()),
    )


def engines_of(units: Iterable[pa.Table]) -> str | None:
    """Names of the engines that computed these rows, joined by commas; None without rows."""
    names = sorted({name for rows in units for name in pc.unique(rows["engine"]).to_pylist()})
    return ",".join(names) or None


class UnitWriter:
    """Collects rows as they come, in any order, and closes a unit's file when all its rows are in.

    Args:
        work: the run's work folder; whole units found there are taken over, others removed.
        manifest: says which rows make a unit.
        key: puts pseudonyms into the unit files, and the real names beside them below `links/`.
    """

    def __init__(self, work: WorkFolder, manifest: Manifest, key: PseudonymKey | None = None) -> None:
        self._work = work
        self._manifest = manifest
        self._key = key
        self._open: dict[int, list[pa.Table]] = {}
        self._planned: dict[int, set[str]] = {}
        self._seen: dict[int, set[str]] = {}
        self.finished: dict[int, Tally] = {}
        self._take_over()

    @property
    def tally(self) -> Tally:
        """Rows of finished units."""
        return sum(self.finished.values(), Tally())

    @property
    def begun(self) -> set[int]:
        """Units that have some of their rows."""
        return set(self._open)

    def add(self, rows: pa.Table) -> None:
        """Take rows of `schema.UNIT_FILE`; a row that is already in (a retried task) is dropped.

        Raises:
            BooksError: a row that is not in the manifest.
        """
        for unit in pc.unique(rows["unit"]).to_pylist():
            if unit not in self.finished:
                self._add(unit, rows.filter(pc.equal(rows["unit"], unit)))

    def missing(self) -> pa.Table:
        """Manifest entries that have no row yet, `schema.MANIFEST`."""
        images = self._manifest.images
        finished = pc.is_in(images["unit"], value_set=pa.array(list(self.finished), pa.int32()))
        seen = pa.array([i for ids in self._seen.values() for i in ids], pa.string())
        return images.filter(pc.invert(pc.or_(finished, pc.is_in(images["reading_id"], value_set=seen))))

    def discard(self, units: set[int]) -> None:
        """Forget units, finished or not: they will be read again."""
        for unit in units:
            for rows in (self._open, self._seen, self._planned):
                rows.pop(unit, None)
            if self.finished.pop(unit, None) is not None:
                self._work.home.folder.delete(unit_name(self._work.path, unit))

    def _add(self, unit: int, rows: pa.Table) -> None:
        seen = self._seen.setdefault(unit, set())
        if unit not in self._planned:
            self._planned[unit] = self._manifest.unit_ids(unit) if unit < self._manifest.num_units else set()
        ids = rows["reading_id"].to_pylist()
        if foreign := set(ids) - self._planned[unit]:
            raise BooksError(f"unit {unit} was given {len(foreign)} rows that are not in the manifest")
        fresh = [i not in seen and not seen.add(i) for i in ids]  # type: ignore[func-returns-value]
        self._open.setdefault(unit, []).append(rows.filter(pa.array(fresh, pa.bool_())))
        if len(seen) == self._manifest.unit_size(unit):
            self._close(unit)

    def _close(self, unit: int) -> None:
        rows = pa.concat_tables(self._open.pop(unit)).cast(schema.UNIT_FILE)
        folder = self._work.home.folder
        with step("unit", str(unit)):
            if self._key:
                folder.put(unit_name(self._work.restricted, unit), parquet.encode(links(rows, self._key)))
                rows = pseudonymise(rows, self._key)
            rows = rows.sort_by("image_uri")
            folder.put_once(unit_name(self._work.path, unit), encode_unit(rows))
        del self._seen[unit], self._planned[unit]
        self.finished[unit] = tally(rows)

    def _take_over(self) -> None:
        folder = self._work.home.folder
        for file in folder.files(f"{self._work.path}/units/"):
            stem, _, suffix = file.name.rpartition("/")[2].partition(".")
            unit = int(stem) if suffix == "parquet" and stem.isdigit() else self._manifest.num_units
            if unit < self._manifest.num_units:
                try:
                    planned = self._manifest.unit_ids(unit)
                    rows = check_unit(folder.get(file.name) or b"", unit, planned)
                    if self._manifest.purpose.pseudonym_key_id:
                        check_links(folder.get(unit_name(self._work.restricted, unit)) or b"", unit, planned)
                    self.finished[unit] = tally(rows)
                    continue
                except (BooksError, OSError, pa.ArrowInvalid):
                    pass  # not whole, so not a checkpoint: it is read again
            folder.delete(file.name)


def unit_name(folder: str, unit: int) -> str:
    """Where a finished unit waits below a work folder."""
    return f"{folder}/units/{unit:06d}.parquet"


def encode_unit(rows: pa.Table) -> bytes:
    """A unit's file, with the digest of its reading ids in its footer."""
    return parquet.encode(rows.replace_schema_metadata({_DIGEST: _digest(rows).encode()}))


def check_unit(content: bytes, unit: int, planned: set[str]) -> pa.Table:
    """Prove that a unit's file holds exactly the planned rows, undamaged.

    Args:
        content: of the file.
        unit: named in the error.
        planned: reading ids that it must hold, each once.

    Returns:
        Its rows, `schema.UNIT_FILE`.

    Raises:
        BooksError: rows are missing, doubled or foreign.
        OSError, pyarrow.ArrowInvalid: the file is damaged.
    """
    rows = parquet.decode(content)
    ids = rows["reading_id"].to_pylist()
    if len(ids) != len(planned) or set(ids) != planned:
        raise BooksError(
            f"unit {unit} holds {len(ids)} rows, {len(set(ids) & planned)} of its {len(planned)} planned ones"
        )
    if (rows.schema.metadata or {}).get(_DIGEST) != _digest(rows).encode() or not rows.schema.equals(
        schema.UNIT_FILE
    ):
        raise BooksError(f"unit {unit} is not a unit file of this version")
    return rows


def check_links(content: bytes, unit: int, planned: set[str]) -> None:
    """Prove that the links of a unit name every planned row.

    Raises:
        BooksError: they do not.
        OSError, pyarrow.ArrowInvalid: the file is damaged.
    """
    ids = parquet.decode(content, ["reading_id"])["reading_id"].to_pylist()
    if len(ids) != len(planned) or set(ids) != planned:
        raise BooksError(f"the links of unit {unit} are not whole")


def _digest(rows: pa.Table) -> str:
    return hashlib.sha256("\n".join(sorted(rows["reading_id"].to_pylist())).encode()).hexdigest()
