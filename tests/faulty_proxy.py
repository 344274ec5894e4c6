"""A proxy on 127.0.0.1 in front of the real S3 server that spoils chosen answers.

Requests are signed for the proxy's own host and port, which it passes on as they are; the server checks the
signature against the Host header that it gets.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
FAULTS = ("slow-down", "500", "reset", "cut", "lie", "stall", "archived")
"""`cut`: the connection ends within the body; `lie`: a shorter body under a length to match; `stall`: half
a body, then nothing."""


class FaultyProxy:
    """What is to be spoilt, and what was asked.

    `faults` is used up from its front, one per GET of an object; `always` is done to all of them.
    `listing_faults` likewise, one per page of a listing.
    """

    def __init__(self, endpoint: str, upstream: str) -> None:
        self.endpoint = endpoint
        self.upstream = urlsplit(upstream).netloc
        self.faults: list[str] = []
        self.listing_faults: list[str] = []
        self.always: str | None = None
        self.asked: list[str] = []
        self.closing = threading.Event()

    def fault(self, path: str) -> str | None:
        self.asked.append(path)
        return self.faults.pop(0) if self.faults else self.always


@contextlib.contextmanager
def serve_faults(upstream: str) -> Iterator[FaultyProxy]:
    """A proxy that is ready; `upstream` is the endpoint of the real server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    proxy = server.proxy = FaultyProxy(f"http://127.0.0.1:{server.server_port}", upstream)  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.closing.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _pass_on(self) -> None:
        proxy: FaultyProxy = self.server.proxy  # type: ignore[attr-defined]
        fault = None
        if "list-type" in self.path:
            fault = proxy.listing_faults.pop(0) if proxy.listing_faults else None
        elif self.command == "GET":
            fault = proxy.fault(self.path)
        if fault == "reset":
            self._reset()
        elif fault in ("slow-down", "500", "archived"):
            status, body = {
                "slow-down": (503, SLOW_DOWN),
                "500": (500, b""),
                "archived": (403, b"<Error><Code>InvalidObjectState</Code></Error>"),
            }[fault]
            self._answer(status, [("Content-Type", "application/xml")], body, len(body))
        else:
            self._spoil(fault, *self._ask(proxy))

    do_GET = do_HEAD = do_PUT = do_POST = _pass_on  # noqa: N815 - the names that http.server calls

    def _ask(self, proxy: FaultyProxy) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(proxy.upstream, timeout=20)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), body

    def _spoil(self, fault: str | None, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        proxy: FaultyProxy = self.server.proxy  # type: ignore[attr-defined]
        if fault == "lie":
            body = body[:-1]
        given = body[: len(body) // 2] if fault in ("cut", "stall") else body
        length = len(body) if self.command != "HEAD" else int(dict(headers).get("Content-Length", 0))
        self._answer(status, headers, given, length)
        if fault == "stall":
            proxy.closing.wait(30)
        if fault in ("cut", "stall"):
            self._reset()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, length: int) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)
            self.wfile.flush()

    def _reset(self) -> None:
        """End the connection with RST, as a dying load balancer does."""
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True
