"""docs/tables.md and the README's section on it: every snippet runs, every column and code is told."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from s3_server import credentials, new_bucket
from test_export import NEW, night

from batch_fracture import schema
from batch_fracture.codes import DECIDED_BY_SETTINGS, MAX_RETRIES, Code
from batch_fracture.privacy import LINKS, NAMES
from batch_fracture.query import BY_STUDY_SQL, query
from batch_fracture.results import parquet
from batch_fracture.results.home import Home, find_home
from batch_fracture.results.table import KEPT_FOR

ROOT = Path(__file__).parents[1]
TABLES = (ROOT / "docs" / "tables.md").read_text()
README = (ROOT / "README.md").read_text().split("## Reading the table")[1].split("\n## ")[0]
NIGHTS = {"r1": ["read", "failed"], "r2": ["read", "read", "skipped"]}
ROWS = sum(len(statuses) for statuses in NIGHTS.values())

TYPES = {
    pa.string(): ("string", "string"),
    pa.int64(): ("int64", "bigint"),
    pa.int32(): ("int32", "int"),
    pa.int16(): ("int16", "smallint"),
    pa.float32(): ("float32", "float"),
    pa.bool_(): ("bool", "boolean"),
    pa.date32(): ("date32", "date"),
    schema.TIMESTAMP: ("timestamp[us, UTC]", "timestamp"),
    pa.list_(pa.string()): ("list&lt;string&gt;", "array<string>"),
}
"""By Arrow type: how the document names it, and what Athena, Hive and Spark call it."""


def section(title: str) -> str:
    """What stands below a heading, down to the next of its level or above."""
    level, begin = re.search(rf"^(#+) {re.escape(title)}\n", TABLES, re.MULTILINE), 0
    assert level, title
    begin = level.end()
    end = re.search(rf"^#{{1,{len(level[1])}}} ", TABLES[begin:], re.MULTILINE)
    return TABLES[begin : begin + end.start()] if end else TABLES[begin:]


def snippets(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def cells(text: str) -> list[list[str]]:
    rows = re.findall(r"^\| `.*\|$", text, re.MULTILINE)
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]


def fill(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nights; the program of the first knew fewer columns."""
    with monkeypatch.context() as patch:
        patch.setattr(schema, "READINGS", pa.schema([f for f in schema.READINGS if f.name not in NEW]))
        night(home, "r1", "2026-11-20", NIGHTS["r1"], without=NEW)
    night(home, "r2", "2026-11-21", NIGHTS["r2"])


def put_links(home: Home) -> None:
    ids = [(f"{run_id}-{n}", run_id) for run_id, statuses in NIGHTS.items() for n in range(len(statuses))]
    rows = [{"reading_id": i, "run_id": run_id, **dict.fromkeys(NAMES, "real")} for i, run_id in ids]
    content = parquet.encode(pa.Table.from_pylist(rows, schema=LINKS))
    home.folder.put_once("links/read_date=2026-11-20/r1-000000-0.parquet", content)


def cells_of_two(text: str) -> list[list[str]]:
    return [row.strip("|").split("|") for row in re.findall(r"^\| `[^|]*\|[^|]*\|$", text, re.MULTILINE)]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the snippets expect it: `results` below, and our command on the path."""
    home = find_home(str(tmp_path / "results"), create=True)
    fill(home, monkeypatch)
    put_links(home)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.fixture
def in_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What to put for the document's S3 server and its bucket."""
    bucket = new_bucket(s3_server, monkeypatch)
    fill(find_home(f"s3://{bucket}/results", create=True), monkeypatch)
    yield {
        "https://s3.example.org": credentials(s3_server)["AWS_ENDPOINT_URL"],
        "s3://archive/": f"s3://{bucket}/",
        '"archive/': f'"{bucket}/',
    }


def run_shell(text: str) -> None:
    for snippet in snippets(text, "bash"):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", snippet], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{snippet}\n{done.stderr}"


def columns(rows: Any) -> set[str]:
    return set(rows.column_names if isinstance(rows, pa.Table) else rows.columns)


def run_python(text: str, replaced: dict[str, str]) -> int:
    """Run each by itself; what it calls `readings` must be all rows and columns, or those of version 1."""
    ran = 0
    for snippet in snippets(text, "python"):
        if "pyspark" in snippet:
            ast.parse(snippet)
            continue
        code = reduce(lambda text, pair: text.replace(*pair), replaced.items(), snippet)
        names: dict[str, Any] = {}
        exec(compile(code, snippet, "exec"), names)  # noqa: S102 - the document is ours
        if "readings" in names:
            first_only = "version=1)" in snippet
            assert len(names["readings"]) == (len(NIGHTS["r1"]) if first_only else ROWS), snippet
            if "SELECT image_uri" not in snippet and "SELECT dataset" not in snippet:
                lacks = NEW if first_only or "as the first file has them" in snippet else ()
                assert columns(names["readings"]) == set(schema.READINGS.names) - set(lacks), snippet
        ran += 1
    return ran


def test_the_documents_shell_and_python_run(workplace: Path, in_bucket: dict[str, str]) -> None:
    run_shell(TABLES)
    assert (workplace / "audit-2026" / "SHA256SUMS").is_file()
    assert run_python(TABLES, in_bucket) == 16


def test_the_readmes_snippets_run(workplace: Path) -> None:
    run_shell(README)
    assert run_python(README, {}) == 1
    assert "docs/tables.md" in README


def test_the_documents_sql_runs(workplace: Path) -> None:
    by_study, worst, incomplete = snippets(section("Studies"), "sql")
    assert " ".join(by_study.split()) == " ".join(BY_STUDY_SQL.split("AS", 1)[1].split())
    columns_told = re.findall(r"`(\w+)`", "".join(name for name, _ in cells_of_two(section("Studies"))))
    assert columns_told == query("results", "FROM latest_by_study").column_names
    assert [len(query("results", sql)) for sql in (by_study, worst, incomplete)] == [0, 0, 0]
    (latest,) = snippets(section("Views").split("### Studies")[0], "sql")
    others = snippets(section("Questions"), "sql")
    found = query("results", latest).drop_columns(["place"])
    order = [("image_uri", "ascending"), ("model", "ascending")]
    assert found.sort_by(order).equals(query("results", "SELECT * FROM latest").sort_by(order))
    assert [len(query("results", sql)) for sql in others] == [1, 4, 0]
    (workplace / "results" / "runs" / "r1.parquet").unlink()
    night(find_home("results"), "r3", "2026-11-22", ["read"])
    parquet_of_r3 = workplace / "results" / "readings" / "read_date=2026-11-22" / "r3-000000-0.parquet"
    parquet_of_r3.write_bytes(parquet.encode(parquet.decode(parquet_of_r3.read_bytes()).slice(1)))
    assert query("results", others[-1]).to_pylist()[0]["run_id"] == "r3"


@pytest.mark.parametrize(
    ("title", "table"), [("readings", schema.READINGS), ("runs", schema.RUNS), ("links", LINKS)]
)
def test_every_column_is_told_with_its_type(title: str, table: pa.Schema) -> None:
    told = [(name, shown) for name, shown, _ in cells(section(title))]
    assert told == [(field.name, TYPES[field.type][0]) for field in table]


def test_every_code_is_told_with_its_fate() -> None:
    told = {code: (status, again) for code, status, again, _, _ in cells(section("Codes"))}
    assert list(told) == [code.value for code in Code]
    for code in Code:
        again = "when its setting changes" if code in DECIDED_BY_SETTINGS else "no"
        again = f"on {MAX_RETRIES} later nights" if code.transient else again
        assert told[code.value] == (code.status.value, again)
    assert all(what and todo for _, _, _, what, todo in cells(section("Codes")))


def test_the_statements_for_sealed_copies_name_every_column() -> None:
    found = snippets(section("A sealed copy in Athena, Hive, or Spark with a Hive metastore"), "sql")
    for sql, table, partition in zip(
        found, (schema.READINGS, schema.RUNS), (schema.PARTITION, None), strict=True
    ):
        body = sql.split(" (\n")[1].split("\n)\n")[0]
        told = [line.strip().rstrip(",") for line in body.splitlines()]
        fields = [field for field in table if field.name != partition]
        assert told == [f"`{field.name}` {TYPES[field.type][1]}" for field in fields]
        assert ("PARTITIONED BY (`read_date` date)\n" in sql) == (partition is not None)
        assert "\nSTORED AS PARQUET\nLOCATION 's3://archive/audit-2026/" in sql


def test_what_reads_the_log_names_no_columns() -> None:
    for engine in ("Athena", "Trino", "Spark SQL"):
        (sql,) = snippets(section(engine), "sql")
        assert not set(schema.READINGS.names) & set(re.findall(r"`(\w+)`", sql))
        assert re.search(r"'s3a?://archive/results/readings/?'", sql)


def test_retention_is_as_told() -> None:
    days = KEPT_FOR.split()[1]
    assert f"`delta.deletedFileRetentionDuration` of {days} days" in TABLES


def test_links_within_the_document_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", TABLES, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", TABLES)) <= headings
