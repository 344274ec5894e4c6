"""SQL over the results: views `readings`, `latest`, `latest_by_study` and `runs` in DuckDB."""

from __future__ import annotations

import math
from typing import Any

import duckdb
import pyarrow as pa

from batch_fracture.codes import Status
from batch_fracture.errors import ConfigError, ResultsError
from batch_fracture.results.home import find_home
from batch_fracture.results.records import read_records
from batch_fracture.results.table import ReadingsTable
from batch_fracture.store import FROM_ENVIRONMENT, Access

LATEST_SQL = f"""
CREATE VIEW latest AS
SELECT * FROM readings
QUALIFY row_number() OVER (
    PARTITION BY image_uri, model ORDER BY (status = '{Status.READ}') DESC, read_at DESC, run_id DESC
) = 1
"""  # noqa: S608 - only a constant of ours stands in the text
"""Per (image_uri, model) the newest `read` row, else the newest row."""
BY_STUDY_SQL = f"""
CREATE VIEW latest_by_study AS
SELECT
    study_instance_uid,
    model,
    count(*) AS images,
    count(*) FILTER (status = '{Status.READ}') AS read,
    count(*) FILTER (status = '{Status.SKIPPED}') AS skipped,
    count(*) FILTER (status = '{Status.FAILED}') AS failed,
    max(probability) FILTER (status = '{Status.READ}') AS probability,
    bool_or(fracture) FILTER (status = '{Status.READ}') AS fracture,
    first(image_uri ORDER BY probability DESC NULLS LAST, image_uri)
        FILTER (status = '{Status.READ}') AS image_uri,
    max(read_at) AS read_at
FROM latest
WHERE study_instance_uid IS NOT NULL
GROUP BY study_instance_uid, model
"""  # noqa: S608 - likewise
"""Per (study, model) the highest probability of its read images, the image that has it (of equals the first
by name), and how many images there are and were not read. Images of no known study, such as PNG, are left
out: together they are no study, and each alone stands in `latest`."""


def connect(
    results: str, access: Access = FROM_ENVIRONMENT, *, with_runs: bool = True
) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with the views of a results folder; the tables themselves are only read.

    Raises:
        ResultsError: the location is no results folder.
    """
    home = find_home(results, access=access)
    table = ReadingsTable.open(home)
    if table is None:
        raise ResultsError(
            f"results {results!r}: the readings table has no log; run `batch-fracture run` first"
        )
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("readings", table.rows())
    if with_runs:
        connection.register("runs", read_records(home))
    connection.execute(LATEST_SQL)
    connection.execute(BY_STUDY_SQL)
    return connection


def query(results: str, sql: str, access: Access = FROM_ENVIRONMENT) -> pa.Table:
    """The rows of one statement.

    Raises:
        ConfigError: DuckDB does not accept it.
        ResultsError: the location is no results folder.
    """
    with connect(results, access, with_runs="runs" in sql.lower()) as connection:
        try:
            relation = connection.sql(sql)
            found: pa.Table | None = relation.to_arrow_table() if relation is not None else None
        except duckdb.Error as error:
            raise ConfigError(f"query: {str(error).strip().splitlines()[0]}") from error
    if found is None:
        raise ConfigError(f"query {sql!r} gives no rows; begin it with SELECT")
    return found


def plain_rows(rows: pa.Table) -> list[dict[str, Any]]:
    """Rows as dictionaries of what JSON can hold: a value that is not finite is None.

    Raises:
        ConfigError: two columns have one name.
    """
    names = rows.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"query: two columns are named {twice[0]!r}; name them apart with AS")
    return [{name: _plain(value) for name, value in row.items()} for row in rows.to_pylist()]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
