"""The archive of the chaos harness: small files that come, change and go, and the row that each must get."""

from __future__ import annotations

import io
import random

import numpy as np
from chaos_books import Expected
from chaos_places import Place
from PIL import Image


class Archive:
    """Keeps the truth: which (image_uri, image_version) was ever listed, and its status."""

    def __init__(self, place: Place, rng: random.Random) -> None:
        self.place = place
        self.expected: Expected = {}
        self._rng = rng
        self._numbers = 0
        self._status: dict[str, str] = {}

    def change(self, *, add: int, rewrite: int, delete: int) -> None:
        """What a day does to an archive; call it only when no run is at work."""
        names = sorted(self._status)
        self._rng.shuffle(names)
        for name in names[:delete]:
            self.place.delete(name)
            del self._status[name]
        for name in names[delete : delete + rewrite]:
            self._put(name)
        for _ in range(add):
            self._put(f"{self._numbers % 7:02d}/image-{self._numbers:06d}")
            self._numbers += 1
        for name, version in self.place.versions().items():
            self.expected[f"{self.place.uri}/{name}", version] = self._status[name]

    def _put(self, name: str) -> None:
        """An image most of the time; a text or a cut image now and then."""
        content, kind = _draw(self._rng), self._rng.random()
        self._status[name] = "read"
        if kind < 0.03:
            content, self._status[name] = b"no image " + content[-8:], "skipped"
        elif kind < 0.06:
            content, self._status[name] = content[: len(content) // 2], "failed"
        self.place.put(name, content)


def _draw(rng: random.Random) -> bytes:
    pixels = np.frombuffer(rng.randbytes(48 * 32), np.uint8).reshape(48, 32)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()
