"""Synthetic radiographs: for `batch-fracture demo`, and for tests that may not hold patients' pictures."""

from batch_fracture.synthetic.archive import SyntheticArchive, SyntheticFile, draw_archive

__all__ = ["SyntheticArchive", "SyntheticFile", "draw_archive"]
