"""What decides how an image is read, and therefore which codes a change of it can undo."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

INFLATES_FREELY_BYTES = 64 * 2**20
"""A blank picture deflates a thousandfold; 32 million pixels of 16 bits are never too large for that."""
RADIOGRAPH_MODALITIES = ("CR", "DX", "RG")
"""Computed, digital and film radiography (DICOM PS3.3 C.7.3.1.1.1)."""


@dataclass(frozen=True, kw_only=True)
class ReadingSettings:
    """Limits and filters under which images are read; equal settings give equal codes."""

    modalities: tuple[str, ...] = RADIOGRAPH_MODALITIES
    """DICOM modalities that count as radiographs; `("all",)` reads every single-frame image object."""
    max_pixels: int = 100_000_000
    """Larger images are `TOO_LARGE`; the header decides, before memory is spent. A stitched full-leg
    radiograph has about 30 million."""
    max_bytes: int = 512 * 2**20
    """Larger files are `TOO_LARGE` without being opened, and deflated DICOM objects that inflate to more."""
    max_inflation: int = 100
    """A deflated DICOM object that inflates to more than so many times its size, and to more than
    `INFLATES_FREELY_BYTES`, is `TOO_LARGE`; radiographs deflate two- to tenfold."""
    time_limit_s: float = 60.0
    """Wall-clock and CPU seconds that one image may take before it is `TIMED_OUT`."""
    memory_limit_bytes: int = 4 * 2**30
    """Address space of the disposable child process that reads an image which crashed a worker."""

    def max_inflated_bytes(self, size_bytes: int) -> int:
        """What a deflated DICOM object of this size may inflate to."""
        return min(self.max_bytes, max(INFLATES_FREELY_BYTES, self.max_inflation * size_bytes))

    @property
    def digest(self) -> str:
        """sha256 (hex) over all settings; a row carries it as `settings_digest`."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
