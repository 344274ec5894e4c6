from __future__ import annotations

import hashlib
import os
import pickle
import random
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from batch_fracture import schema
from batch_fracture.errors import ConfigError
from batch_fracture.privacy import LINKS, NAMES, PseudonymKey, links, pseudonymise, read_key

SECRET = b"Jefe-what do ya want for nothing?-key"
KEY = PseudonymKey(secret=SECRET)
BY_OPENSSL = {
    ("image_uri", "/archive/a.dcm"): "339a5f5fcf10820596d4e5666bb12435f28952771e042283af483ac08402f259",
    ("image_version", "12-34"): "5cb0a3342fe58592819fb6523cbadc70b17be5d27d6a675dea38aaac8945f3d1",
    ("image_sha256", "00"): "4cee48d4a520e37cf6b582a138e0ca01d3a3421f12e7bdd6ad177a065346ba81",
    ("study_instance_uid", "1.2.3"): "810f02aee4819df6d43741310ea3ed49d914e982bde0bf7ff5a37044a093a229",
    ("series_instance_uid", "1.2.3"): "744aa929edb7892fa1b42c77d2f6b6a747f31b4f3c7a6369041ee13f9f63e2af",
    ("sop_instance_uid", "1.2.3"): "7a85799443e35c8d82c180baf9542949664c4861e302ed4683b8f65094b9f830",
}
"""`openssl dgst -sha256 -mac HMAC` over label, NUL, domain, NUL, value under SECRET."""
REAL = dict(tuple(BY_OPENSSL))


def rfc_2104(key: bytes, message: bytes) -> bytes:
    """The formula of RFC 2104 section 2, H = SHA-256."""
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in padded) + message).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in padded) + inner).digest()


def written(tmp_path: Path, content: bytes, mode: int = 0o600) -> str:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def test_pseudonyms_are_hmac_sha_256() -> None:
    rfc_4231_case_2 = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert rfc_2104(b"Jefe", b"what do ya want for nothing?").hex() == rfc_4231_case_2
    for (domain, value), expected in BY_OPENSSL.items():
        message = f"batch-fracture pseudonym 1\0{domain}\0{value}".encode()
        assert KEY.pseudonym(domain, value) == rfc_2104(SECRET, message).hex() == expected
    accents = KEY.pseudonym("image_uri", "/archiv/Größe 1.png")
    assert accents == "a556d1bbac628b692d6a6d20ec841fd8e285ecdf03041b1138c50f251d9ed480"
    assert KEY.pseudonym("image_uri", None) is None
    assert KEY.hide(("/archive",)) == ["07be235a3b428f17d41212535563dae5f3512134201889bb63d531e6b9b8f4fa"]


def test_the_key_id_tells_keys_apart_and_no_more() -> None:
    assert KEY.key_id == rfc_2104(SECRET, b"batch-fracture key id 1").hex()[:16] == "2cdeb0cc7ae92c86"
    assert PseudonymKey(secret=SECRET + b"!").key_id != KEY.key_id
    for text in (repr(KEY), str(KEY), f"{KEY}"):
        assert SECRET.decode() not in text
        assert SECRET.hex() not in text
    assert pickle.loads(pickle.dumps(KEY)) == KEY  # noqa: S301 - our own


def unit_rows() -> pa.Table:
    rows = [
        {"reading_id": "a1", "run_id": "r", "modality": "CR", **REAL},
        {"reading_id": "b2", "run_id": "r", **dict.fromkeys(NAMES), "image_uri": "/archive/a.dcm"},
    ]
    return pa.Table.from_pylist(rows, schema=schema.UNIT_FILE)


def test_a_table_gets_pseudonyms_and_keeps_the_rest() -> None:
    rows = unit_rows()
    hidden = pseudonymise(rows, KEY)
    assert hidden.schema.equals(schema.UNIT_FILE)
    first, second = hidden.to_pylist()
    assert {name: first[name] for name in NAMES} == {name: code for (name, _), code in BY_OPENSSL.items()}
    assert second["image_uri"] == first["image_uri"]
    assert [second[name] for name in NAMES[1:]] == [None] * 5
    assert hidden["pseudonym_key_id"].to_pylist() == [KEY.key_id] * 2
    others = [name for name in rows.column_names if name not in (*NAMES, "pseudonym_key_id")]
    assert hidden.select(others).equals(rows.select(others))
    with pytest.raises(ValueError, match="twice"):
        pseudonymise(hidden, KEY)


def test_tables_with_few_of_the_columns_or_no_rows() -> None:
    listing = pa.Table.from_pylist([{"image_uri": "/archive/a.dcm", "size_bytes": 3}], schema=schema.LISTING)
    hidden = pseudonymise(listing, KEY)
    assert hidden.schema.equals(schema.LISTING)
    assert hidden["image_uri"][0].as_py() == BY_OPENSSL["image_uri", "/archive/a.dcm"]
    assert hidden["size_bytes"][0].as_py() == 3
    assert pseudonymise(schema.UNIT_FILE.empty_table(), KEY).equals(schema.UNIT_FILE.empty_table())
    assert links(schema.UNIT_FILE.empty_table(), KEY).equals(LINKS.empty_table())


def test_links_hold_the_way_back() -> None:
    linked = links(unit_rows(), KEY)
    assert linked.schema.equals(LINKS)
    head = {"reading_id": "a1", "run_id": "r", "pseudonym_key_id": KEY.key_id}
    assert linked.to_pylist()[0] == head | REAL
    assert linked["image_uri"].to_pylist() == ["/archive/a.dcm"] * 2


def test_many_rows_in_many_chunks() -> None:
    uris = [f"/archive/study {number % 70_000}/image.dcm" for number in range(150_000)]
    column = pa.chunked_array([uris[:10], uris[10:100_000], uris[100_000:]])
    began = time.monotonic()
    hidden = pseudonymise(pa.table({"image_uri": column}), KEY)["image_uri"]
    assert time.monotonic() - began < 3  # 0.2 s where nothing else runs
    assert len(hidden) == 150_000
    for at in random.Random(0).sample(range(150_000), 200):
        assert hidden[at].as_py() == KEY.pseudonym("image_uri", uris[at])


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_key_of_text_ends_before_its_newline(tmp_path: Path, end: bytes) -> None:
    key = read_key(written(tmp_path, SECRET + end))
    assert key == KEY
    assert key.warning is None


def test_random_bytes_are_a_key_whatever_they_end_with(tmp_path: Path) -> None:
    secret = random.Random(1).randbytes(31) + b"\n"
    assert read_key(written(tmp_path, secret)).secret == secret
    assert read_key(written(tmp_path, os.urandom(4096))).secret


def test_a_key_may_come_through_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o644)
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(SECRET,))
    writer.start()
    assert read_key(str(tmp_path / "pipe")) == KEY
    writer.join()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds 0 bytes, but a key has 32 to 4096"),
        (b"x1" * 15 + b"y\n", "holds 31 bytes"),
        (bytes(random.Random(2).randbytes(31)), "holds 31 bytes"),
        (os.urandom(5000), "holds too many bytes"),
        (bytes(64), "easily guessed"),
        (b"changeme" * 4, "easily guessed"),
        (b"changeme!" * 4 + b"chan", "easily guessed"),
        (b"aaaaaaaabbbbbbbbccccccccdddddddd", "easily guessed"),
        (bytes(range(32)), "easily guessed"),
    ],
)
def test_short_and_weak_keys_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        read_key(path)
    assert str(caught.value).startswith(f"--pseudonym-key-file {path!r}: ")
    assert said in str(caught.value)
    assert str(caught.value).endswith("make one with: openssl rand -hex 32 > key; chmod 600 key")
    assert b"changeme" not in str(caught.value).encode()


def test_a_key_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=said) as caught:
            read_key(str(path))
        assert repr(str(path)) in str(caught.value)
        assert "openssl rand" in str(caught.value)


def test_a_key_file_that_everybody_may_read_is_taken_with_a_warning(tmp_path: Path) -> None:
    key = read_key(written(tmp_path, SECRET, mode=0o644))
    assert key == KEY
    assert key.warning is not None
    assert "everybody on this machine may read it" in key.warning
    assert str(tmp_path / "key") in key.warning
    assert read_key(written(tmp_path, SECRET, mode=0o640)).warning is None
