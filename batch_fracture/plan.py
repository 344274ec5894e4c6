"""The plan: what is listed, less what is already settled for this model, cut into units."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from datetime import UTC, date, datetime

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batch_fracture import schema
from batch_fracture.codes import DECIDED_BY_SETTINGS, MAX_RETRIES, TRANSIENT, Status
from batch_fracture.privacy import PseudonymKey, pseudonymise
from batch_fracture.results.manifest import Manifest, Purpose, run_id_of
from batch_fracture.results.table import ReadingsTable

MIN_UNIT_ROWS, MAX_UNIT_ROWS, WANTED_UNITS = 100, 2000, 32
"""A unit is what an interruption can cost and what a Parquet file holds: small archives get small ones."""
BATCH_ROWS = 65_536
"""Rows whose names are Python strings at one time."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do."""

    manifest: Manifest
    retried_later: int
    """Of the unchanged: transient failures that a later night will try again."""


def plan_run(
    listing: pa.Table,
    table: ReadingsTable | None,
    purpose: Purpose,
    *,
    read_date: date,
    key: PseudonymKey | None = None,
) -> Plan:
    """Decide which listed images are to be read.

    Args:
        listing: `schema.LISTING`.
        table: the newest version of the results; None when there are none yet.
        purpose: model, settings and flags.
        read_date: UTC day of this night; a transient failure of the same day is not tried again.
        key: readings are named after pseudonyms under it, so that a name tells nothing of the image.

    Returns:
        The plan; its manifest may be empty.
    """
    images = listing.append_column("reading_id", _reading_ids(listing, purpose.model_digest, key))
    settled, retried_later = _settled(images["reading_id"], table, purpose, read_date)
    pending = images.filter(pa.array(~settled)) if settled.any() else images
    chosen = _first(pending, purpose.order, purpose.limit)
    chosen = (
        chosen.append_column("unit", _units(len(chosen))).select(schema.MANIFEST.names).cast(schema.MANIFEST)
    )
    base_version = table.version if table else 0
    manifest = Manifest(
        run_id=run_id_of(chosen, purpose, read_date, base_version),
        purpose=purpose,
        images=chosen,
        read_date=read_date,
        base_version=base_version,
        listed=len(images),
        unchanged=len(images) - len(pending),
        not_planned=len(pending) - len(chosen),
        started_at=int(datetime.now(UTC).timestamp() * 1e6),
    )
    return Plan(manifest=manifest, retried_later=retried_later)


def reading_id(image_uri: str, image_version: str, model_digest: str) -> str:
    """The key of a reading: hex of a 128-bit BLAKE2b hash over the three, each with its length."""
    parts = (image_uri.encode(), image_version.encode(), model_digest.encode())
    return hashlib.blake2b(b"".join(b"%d:%s" % (len(p), p) for p in parts), digest_size=16).hexdigest()


def _reading_ids(listing: pa.Table, model_digest: str, key: PseudonymKey | None) -> pa.ChunkedArray:
    """Of every image, a batch at a time: a million at once would be 400 MB of Python strings."""
    batches = listing.select(["image_uri", "image_version"]).to_batches(max_chunksize=BATCH_ROWS)
    ids = [
        pa.array(map(reading_id, *_texts(batch, key), itertools.repeat(model_digest)), pa.string())
        for batch in batches
    ]
    return pa.chunked_array(ids, pa.string())


def _texts(batch: pa.RecordBatch, key: PseudonymKey | None) -> tuple[list[str], ...]:
    names = pa.Table.from_batches([batch])
    return tuple(column.to_pylist() for column in (pseudonymise(names, key) if key else names).columns)


def _settled(
    reading_ids: pa.ChunkedArray, table: ReadingsTable | None, purpose: Purpose, read_date: date
) -> tuple[npt.NDArray[np.bool_], int]:
    """Which readings need no work (bool, one each), and how many of those are failures to be tried later.

    Settled: read or skipped; failed for good; failed transiently today, or often enough. A code that a
    setting decided counts only under the same settings, and no failure counts under `--retry-failed`.
    """
    settled = np.zeros(len(reading_ids), np.bool_)
    if purpose.reread or table is None or not table.files():
        return settled, 0
    listed = pa.table({"reading_id": reading_ids, "place": np.arange(len(reading_ids))})
    with duckdb.connect() as connection:
        connection.register("listed", listed)
        connection.register("readings", table.scan(_SETTLED_COLUMNS))
        rows = connection.sql(
            _SETTLED_SQL,
            params={
                "transient": sorted(TRANSIENT),
                "by_settings": sorted(DECIDED_BY_SETTINGS),
                "settings": purpose.settings_digest,
                "retry_failed": purpose.retry_failed,
                "max_tries": MAX_RETRIES + 1,
                "today": read_date,
            },
        ).to_arrow_table()
    settled[rows["place"].to_numpy()] = True
    return settled, len(rows) - (pc.sum(rows["for_good"]).as_py() or 0)


_SETTLED_COLUMNS = ["reading_id", "status", "error_code", "settings_digest", "read_date"]
_SETTLED_SQL = f"""
WITH wanted AS (SELECT reading_id::UUID AS id, place FROM listed),
told AS (SELECT id,
       bool_or(status = '{Status.READ}'
               OR (error_code NOT IN (SELECT unnest($transient))
                   AND (error_code NOT IN (SELECT unnest($by_settings)) OR settings_digest = $settings)
                   AND NOT (status = '{Status.FAILED}' AND $retry_failed))) AS final,
       NOT $retry_failed AND coalesce(max(read_date)
           FILTER (error_code IN (SELECT unnest($transient))) >= $today, false) AS waits,
       NOT $retry_failed AND count(*)
           FILTER (error_code IN (SELECT unnest($transient))) >= $max_tries AS spent
FROM (SELECT try_cast(reading_id AS UUID) AS id, * FROM readings) SEMI JOIN wanted USING (id)
GROUP BY id)
SELECT place, final OR spent AS for_good FROM told JOIN wanted USING (id) WHERE final OR waits OR spent
"""  # noqa: S608 - only constants of this module stand in the text


def _first(images: pa.Table, order: str, limit: int | None) -> pa.Table:
    """The first `limit` in that order, or all; only those are copied."""
    if order == "listed":
        return images[:limit]
    direction = "descending" if order == "newest" else "ascending"
    ranked = pc.sort_indices(images, [("modified_at", direction), ("image_uri", "ascending")])
    return images.take(ranked[:limit])


def _units(count: int) -> pa.Array:
    rows = min(MAX_UNIT_ROWS, max(MIN_UNIT_ROWS, -(-count // WANTED_UNITS)))
    return pa.array(np.arange(count, dtype=np.int32) // rows)
