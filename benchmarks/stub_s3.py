"""A stub of ListObjectsV2 on 127.0.0.1: an archive of N objects that costs its server next to nothing.

Keys look like an archive's, `2023/01/01/00000000/000.dcm`: four images a study, 250 studies a day. Pages are
made once and kept as bytes, so that a second listing measures the client. Nothing but listing is answered.

    python -m benchmarks.stub_s3 1000000      prints its endpoint, and serves until it is ended
"""

from __future__ import annotations

import base64
import bisect
import contextlib
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "archive"
IMAGES_PER_STUDY, STUDIES_PER_DAY = 4, 250
FIRST_DAY = date(2023, 1, 1)
MAX_KEYS = 1000
_OPENED = (
    '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
)


class StubObject(NamedTuple):
    """One object, as a listing tells of it."""

    key: str
    etag: str
    """Without its quotes."""
    size_bytes: int
    modified_at: datetime


def stub_object(number: int) -> StubObject:
    """The object of that number; keys ascend with numbers."""
    study, image = divmod(number, IMAGES_PER_STUDY)
    day = FIRST_DAY + timedelta(days=study // STUDIES_PER_DAY)
    taken = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=study * 7919 % 86_400)
    key = f"{day:%Y/%m/%d}/{study:08d}/{image:03d}.dcm"
    etag = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    return StubObject(key, etag, 400_000 + number * 7919 % 9_000_000, taken)


class Archive:
    """The keys of an archive, in order, and its pages."""

    def __init__(self, count: int) -> None:
        self.keys = [stub_object(number).key for number in range(count)]
        self.page = lru_cache(maxsize=None)(self._page)

    def _page(self, prefix: str, delimiter: str, after: str, max_keys: int, encode: bool) -> bytes:
        """One page, after the last key or common prefix of the one before."""
        written = quote if encode else escape
        parts: list[str] = []
        at, last, count = self._start(prefix, delimiter, after), after, 0
        while at < len(self.keys) and self.keys[at].startswith(prefix) and count < max_keys:
            key = self.keys[at]
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                last = key[: cut + len(delimiter)]
                parts.append(f"<CommonPrefixes><Prefix>{written(last)}</Prefix></CommonPrefixes>")
                at = bisect.bisect_left(self.keys, last + "\U0010ffff", at)
            else:
                last = key
                parts.append(_contents(stub_object(at), written(key)))
                at += 1
            count += 1
        more = at < len(self.keys) and self.keys[at].startswith(prefix)
        encoding = "<EncodingType>url</EncodingType>" if encode else ""
        token = f"<NextContinuationToken>{_token(last)}</NextContinuationToken>" if more else ""
        head = (
            f"<Name>{BUCKET}</Name><Prefix>{written(prefix)}</Prefix><Delimiter>{written(delimiter)}</Delimiter>"
            f"<KeyCount>{count}</KeyCount><MaxKeys>{max_keys}</MaxKeys>{encoding}"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        )
        return f"{_OPENED}{head}{''.join(parts)}</ListBucketResult>".encode()

    def _start(self, prefix: str, delimiter: str, after: str) -> int:
        if not after or after < prefix:
            return bisect.bisect_left(self.keys, prefix)
        if delimiter and after.endswith(delimiter):
            return bisect.bisect_left(self.keys, after + "\U0010ffff")
        return bisect.bisect_right(self.keys, after)


def _contents(listed: StubObject, key: str) -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>{listed.modified_at:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
        f"<ETag>&quot;{listed.etag}&quot;</ETag><Size>{listed.size_bytes}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def _token(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    archive: Archive

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        asked = dict(parse_qsl(address.query, keep_blank_values=True))
        if address.path.strip("/") != BUCKET or asked.get("list-type") != "2":
            self._answer(404, b"<Error><Code>NoSuchKey</Code><Message>this stub only lists</Message></Error>")
            return
        token = asked.get("continuation-token")
        after = base64.urlsafe_b64decode(token).decode() if token else asked.get("start-after", "")
        body = self.archive.page(
            asked.get("prefix", ""),
            asked.get("delimiter", ""),
            after,
            min(MAX_KEYS, int(asked.get("max-keys", MAX_KEYS))),
            asked.get("encoding-type") == "url",
        )
        self._answer(200, body)

    def do_HEAD(self) -> None:
        found = urlsplit(self.path).path.strip("/") == BUCKET
        self._answer(200 if found else 404, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serve_stub(count: int) -> Iterator[tuple[str, int]]:
    """(endpoint, pid) of a stub with so many objects, in a process of its own; ended afterwards."""
    command = [sys.executable, "-m", "benchmarks.stub_s3", str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            yield server.stdout.readline().strip(), server.pid
        finally:
            server.kill()


def main() -> None:
    """Serve, and say where."""
    _Handler.archive = Archive(int(sys.argv[1]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
