"""Readers that turn the folders in which people keep labelled radiographs into rows of a table."""

from __future__ import annotations

from pathlib import Path

from training.datasets import folders, fracatlas, fracatlas_subset, grazpedwri, mura
from training.datasets.layout import Layout
from training.problems import LabelsError

LAYOUTS = {
    layout.name: layout
    for layout in (
        *(fracatlas.LAYOUT, fracatlas_subset.LAYOUT, mura.LAYOUT),
        *(grazpedwri.LAYOUT, folders.LAYOUT),
    )
}
"""By name; the most particular first."""

__all__ = ["LAYOUTS", "Layout", "recognise"]


def recognise(folder: Path) -> Layout:
    """The layout whose marks a folder has.

    Raises:
        LabelsError: it has none's.
    """
    for layout in LAYOUTS.values():
        if layout.marks and all((folder / mark).exists() for mark in layout.marks):
            return layout
    if folders.recognised(folder):
        return folders.LAYOUT
    marks = "; ".join(
        f"{name}: {', '.join(layout.marks)}" for name, layout in LAYOUTS.items() if layout.marks
    )
    raise LabelsError(
        f"labels {folder}: its layout is none that is known ({marks}; folders: such as fractured and "
        "normal); is it one folder further up or down?"
    )
