from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from batch_fracture import schema
from batch_fracture.codes import Code
from batch_fracture.errors import SourceError
from batch_fracture.store import columns
from batch_fracture.store.columns import Buffer, Listing, Patterns, bare_etags, batch_of, objects_of


def rows_of(*rows: tuple[object, ...]) -> pa.RecordBatch:
    return batch_of(list(zip(*rows, strict=True)))


def test_rows_come_out_sorted_and_once() -> None:
    listing = Listing()
    listing.add(rows_of(("b", "1", 1, 5, None), ("a\u00e9", "1", 1, 5, None)))
    listing.add(rows_of(("a", "1", 1, 5, None), ("b", "1", 1, 5, None)))
    table = listing.table()
    assert table.schema.equals(schema.LISTING)
    assert table["image_uri"].to_pylist() == ["a", "a\u00e9", "b"]


def test_of_a_repeated_object_the_newest_readable_row_stays() -> None:
    listing = Listing()
    listing.add(rows_of(("x", "old", 1, 5, None), ("y", "unlisted", 0, 9, "GONE"), ("z", "3", 1, None, None)))
    listing.add(rows_of(("x", "new", 1, 6, None), ("y", "1", 1, 5, None), ("z", "3", 1, 7, None)))
    table = listing.table()
    assert table["image_version"].to_pylist() == ["new", "1", "3"]
    assert table["modified_at"].to_pylist()[2] == datetime(1970, 1, 1, 0, 0, 0, 7, UTC)


def test_no_rows_and_one_row() -> None:
    assert Listing().table().num_rows == 0
    listing = Listing()
    listing.add(rows_of(("x", "1", 1, 5, None)))
    assert listing.table().num_rows == 1


@pytest.mark.parametrize("names", [[b"a\xff", None], [b"a\xff", b"a\\xff"], [b"\xff\\xfe", b"\\xff\xfe"]])
def test_two_objects_with_one_utf8_name_are_refused(names: list[bytes | None]) -> None:
    listing = Listing()
    for name in names:
        shown = listing.unreadable(name) if name else "a\\xff"
        code = Code.NAME_UNREADABLE if name else None
        if name == b"a\\xff":
            shown, code = name.decode(), None
        listing.add(rows_of((shown, "1", 1, 5, code)))
    with pytest.raises(SourceError, match=r"1 names stand for two .*such as '.*'; rename those"):
        listing.table()


def test_a_secret_name_is_not_told() -> None:
    listing = Listing(secret=True)
    for name in (b"Smith\xff", b"Smith\\xff"):
        shown = listing.unreadable(name)
        listing.add(rows_of((shown, "1", 1, 5, Code.NAME_UNREADABLE)))
    with pytest.raises(
        SourceError, match=r"1 names stand for two objects .*without --pseudonym-key-file"
    ) as said:
        listing.table()
    assert "Smith" not in str(said.value)


def test_a_buffer_hands_over_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "BATCH_ROWS", 2)
    listing = Listing()
    with Buffer(listing) as buffer:
        for number in range(5):
            buffer.add((str(number), "1", 1, 1, None))
    assert [len(batch) for batch in listing._batches] == [2, 2, 1]


def test_folder_markers_and_codes_of_objects() -> None:
    batch = objects_of(
        ["d/", "full/", "bad", "x"],
        pa.array(['"e1"', "e2", 'W/"e3"', '"e4"']),
        pa.array([0, 5, 1, 0]),
        pa.array(["2026-01-02T03:04:05.678Z"] * 4),
        [None, None, "NAME_UNREADABLE", None],
    )
    assert batch["listing_code"].to_pylist() == ["NOT_AN_IMAGE", None, "NAME_UNREADABLE", None]
    assert batch["image_version"].to_pylist() == ["e1", "e2", 'W/"e3"', "e4"]
    assert batch["modified_at"][0].as_py() == datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)


def test_etags_lose_their_quotes_and_nothing_else() -> None:
    assert bare_etags(pa.array(['"a-2"', "a", 'W/"b"', None])).to_pylist() == ["a-2", "a", 'W/"b"', None]


def test_patterns_cross_folders_and_lines() -> None:
    patterns = Patterns(include=("*.dcm", "b?"), exclude=("old/*",))
    assert [patterns.keep(name) for name in ("a/b/x.dcm", "new\nline.dcm", "b1", "b12", "old/x.dcm")] == [
        *(True, True, True),
        *(False, False),
    ]
    assert not Patterns()
