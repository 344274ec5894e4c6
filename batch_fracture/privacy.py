"""Pseudonyms: what a file, a study or a source is called in the tables when `--pseudonym-key-file` is given.

A pseudonym is HMAC-SHA-256 (RFC 2104, FIPS 198-1) under a secret key over a label, the kind of name and the
name: equal names have equal pseudonyms, names of two kinds never meet, and without the key nobody can tell
a name by trying likely ones, as a plain hash would allow. `links` keeps the way back.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from batch_fracture.errors import ConfigError

MIN_KEY_BYTES, MAX_KEY_BYTES = 32, 4096
"""As long as the hash at least (RFC 2104 section 3); what is longer than a page is some other file."""
MIN_DISTINCT_BYTES = 8
"""Even 32 random hex digits fall below this but once in 25 million keys; a held-down key does at once."""
NAMES = (
    "image_uri",
    "image_version",
    "image_sha256",
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
)
"""Columns whose values lead back to an image, and so to a patient; each is a domain of its own."""
LINKS = pa.schema(
    [
        ("reading_id", pa.string()),
        ("run_id", pa.string()),
        ("pseudonym_key_id", pa.string()),
        *((name, pa.string()) for name in NAMES),
    ]
)
"""The way back, one row per reading: the real names. `URI/links/` is for those who may know patients."""
_LABEL = b"batch-fracture pseudonym 1"
_KEY_ID_LABEL = b"batch-fracture key id 1"
_CHUNK_ROWS = 65_536
_REMEDY = "make one with: openssl rand -hex 32 > key; chmod 600 key"


@dataclass(frozen=True, kw_only=True)
class PseudonymKey:
    """A secret key; neither its text form nor its id gives it away."""

    secret: bytes = field(repr=False)
    warning: str | None = field(default=None, compare=False)
    """What to say of the key's file; None when nothing is wrong with it."""

    @property
    def key_id(self) -> str:
        """16 hex digits that tell this key from others: `pseudonym_key_id` of every row."""
        return hmac.digest(self.secret, _KEY_ID_LABEL, "sha256").hex()[:16]

    def pseudonym(self, domain: str, value: str | None) -> str | None:
        """The pseudonym of one name.

        Args:
            domain: kind of the name, such as `image_uri`.
            value: the name; None has none.

        Returns:
            64 hex digits, or None.
        """
        return None if value is None else self.pseudonyms(domain, [value])[0]

    def hide(self, texts: Iterable[str], domain: str = "source") -> list[str]:
        """The pseudonyms of texts that name places, such as a run's sources and patterns."""
        return self.pseudonyms(domain, texts)

    def pseudonyms(self, domain: str, values: Iterable[str]) -> list[str]:
        """The pseudonyms of many names of one kind."""
        begun = hmac.new(self.secret, b"%s\0%s\0" % (_LABEL, domain.encode()), hashlib.sha256)
        pseudonyms = []
        for value in values:
            mac = begun.copy()
            mac.update(value.encode())
            pseudonyms.append(mac.hexdigest())
        return pseudonyms


def pseudonymise(rows: pa.Table, key: PseudonymKey) -> pa.Table:
    """Put pseudonyms in the place of names.

    Args:
        rows: any table; those of its columns that stand in `NAMES` hold real names, or nulls.
        key: the key of the pseudonyms.

    Returns:
        The same rows and columns, with `pseudonym_key_id` set where there is one. Nulls stay.

    Raises:
        ValueError: the rows have been pseudonymised before.
    """
    if "pseudonym_key_id" in rows.column_names:
        at, key_ids = rows.schema.get_field_index("pseudonym_key_id"), rows["pseudonym_key_id"]
        if key_ids.null_count < len(rows):
            raise ValueError("rows that have a pseudonym_key_id would be pseudonymised twice")
        rows = rows.set_column(at, rows.schema.field(at), pa.repeat(key.key_id, len(rows)))
    for name in NAMES:
        at = rows.schema.get_field_index(name)
        if at >= 0:
            rows = rows.set_column(at, rows.schema.field(at), _hidden(name, rows[name], key))
    return rows


def links(rows: pa.Table, key: PseudonymKey) -> pa.Table:
    """The way back from pseudonyms.

    Args:
        rows: `reading_id`, which is hashed from pseudonyms, `run_id`, and the real names of `NAMES`.
        key: the key of the pseudonyms.

    Returns:
        `LINKS`, row by row.
    """
    return (
        rows.select(["reading_id", "run_id", *NAMES])
        .append_column("pseudonym_key_id", pa.repeat(key.key_id, len(rows)))
        .select(LINKS.names)
        .cast(LINKS)
    )


def _hidden(domain: str, values: pa.ChunkedArray, key: PseudonymKey) -> pa.ChunkedArray:
    """Chunk by chunk, each different name once: a million rows never stand in one Python list."""
    chunks = []
    for at in range(0, len(values), _CHUNK_ROWS):
        few = values.slice(at, _CHUNK_ROWS).combine_chunks().dictionary_encode()
        hidden = pa.array(key.pseudonyms(domain, few.dictionary.to_pylist()), values.type)
        chunks.append(hidden.take(few.indices))
    return pa.chunked_array(chunks, values.type)


def read_key(path: str) -> PseudonymKey:
    """Read a key from a file: random bytes, or a line of text such as hex digits.

    A newline after a key of text is no part of it. A file that everybody may read is taken, with a warning:
    Kubernetes mounts secrets with mode 0644, into a file system that only the container sees.

    Args:
        path: a file, or a pipe that a vault writes to.

    Raises:
        ConfigError: the file cannot be read, or what it holds is too short or easily guessed.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_KEY_BYTES + 3)
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise ConfigError(f"--pseudonym-key-file {path!r}: {error.strerror}; {_REMEDY}") from error
    secret = _without_newline(content)
    if not MIN_KEY_BYTES <= len(secret) <= MAX_KEY_BYTES:
        held = f"{len(secret)}" if len(secret) <= MAX_KEY_BYTES else "too many"
        raise ConfigError(
            f"--pseudonym-key-file {path!r}: holds {held} bytes, but a key has {MIN_KEY_BYTES} to "
            f"{MAX_KEY_BYTES}; {_REMEDY}"
        )
    if _is_weak(secret):
        raise ConfigError(f"--pseudonym-key-file {path!r}: the key is easily guessed; {_REMEDY}")
    warning = None
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        warning = f"--pseudonym-key-file {path!r}: everybody on this machine may read it; chmod 600 it"
    return PseudonymKey(secret=secret, warning=warning)


def _without_newline(content: bytes) -> bytes:
    """Less one newline at the end of text; random bytes may end with that byte by chance."""
    line = content.removesuffix(b"\n").removesuffix(b"\r")
    return line if line.isascii() and line.decode().isprintable() else content


def _is_weak(secret: bytes) -> bool:
    """A few different bytes, one piece over and over, or a plain count."""
    steps = {(after - before) % 256 for before, after in itertools.pairwise(secret)}
    repeats = any(secret[shift:] == secret[:-shift] for shift in range(1, len(secret) // 2 + 1))
    return len(set(secret)) < MIN_DISTINCT_BYTES or len(steps) == 1 or repeats
