from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from batch_fracture import schema
from batch_fracture.decode import ImageHeader
from batch_fracture.results.records import Books


def test_a_unit_file_is_the_table_less_its_partition() -> None:
    assert {*schema.UNIT_FILE.names, "read_date"} == set(schema.READINGS.names)
    assert len(schema.READINGS.names) == 39


def test_every_header_field_and_every_manifest_key_has_a_column() -> None:
    assert (
        {field.name for field in fields(ImageHeader)}
        <= set(schema.DECODED.names)
        <= {*schema.READINGS.names, "pixels", "fetch_s", "decode_s", "decoded_at"}
    )
    assert set(schema.MANIFEST.names) - set(schema.DECODED.names) == {"listing_code"}
    assert {field.name for field in fields(Books)} <= set(schema.RUNS.names)


def test_the_columns_are_those_of_the_contract() -> None:
    contract = Path(__file__).parents[2] / "shared" / "DESIGN.md"
    if not contract.is_file():
        pytest.skip("../shared/DESIGN.md is not here")
    table = contract.read_text().split("| column | type | meaning |")[1].split("\n\n")[0]
    named = [name.strip() for line in table.splitlines()[2:] for name in line.split("|")[1].split(",")]
    assert named == schema.READINGS.names
