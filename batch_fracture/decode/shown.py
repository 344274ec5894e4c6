"""What a viewer shows of stored DICOM values: the greyscale transformations of PS3.4 N.2, and square pixels.

Stored value -> Modality LUT -> VOI LUT -> Presentation LUT -> 8 bits. All four are functions of one pixel's
value, so that an image of at most 16 bits goes through one table over its levels.

Not applied, because they belong to presentation states or to the viewer's user: overlays, shutters, flips and
turns. Field of View Rotation (0018,7032) and its kin only tell what the machine did before it stored the
pixels, so upright is as stored.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pydicom
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut

from batch_fracture.codes import Code
from batch_fracture.decode import aspect, window
from batch_fracture.decode.lut import Lut, read_lut
from batch_fracture.errors import ImageError

Grey = window.Grey
Values = window.Values
Step = Callable[[Values], Values]
Look = Callable[[Values], Grey]
Padding = tuple[int, int]
"""Stored values, both included."""

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601, of red, green and blue."""
_MODALITY_LUT_FOR_MEASURING = frozenset(
    {"1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2", "1.2.840.10008.5.1.4.1.1.12.3"}
)
"""XA, XRF and biplane: their Modality LUT leads back to the beam's intensity, and showing ignores it (PS3.4
N.2.5; so do DCMTK and fo-dicom)."""
_MACROS = ("PixelMeasuresSequence", "PixelValueTransformationSequence", "FrameVOILUTSequence")
"""Functional groups (PS3.3 C.7.6.16.2) that hold for a frame what plain objects say of the image."""


def show(dataset: pydicom.Dataset, stored: window.Stored) -> Grey:
    """The picture that a viewer shows.

    Args:
        dataset: the whole object of a single frame; functional groups are lifted to its top level.
        stored: integers or finite floats (rows, columns), or integers (rows, columns, 3) of RGB, as
            `frames.stored_frame` gives them.

    Returns:
        uint8 (rows, columns) of square pixels, black at 0.

    Raises:
        ImageError: `CORRUPT`, when the rescaled values are not finite.
    """
    _lift_functional_groups(dataset)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        grey_HW = _luma(
            apply_color_lut(stored, dataset), int(dataset.RedPaletteColorLookupTableDescriptor[2])
        )
    elif stored.ndim == 3:
        grey_HW = _luma(stored, int(dataset.BitsStored))
    else:
        grey_HW = _show_grey(dataset, stored)
    return aspect.to_square(grey_HW, aspect.pixel_aspect(dataset))


def _lift_functional_groups(dataset: pydicom.Dataset) -> None:
    """Let an enhanced object of one frame look like a plain one; its own frame's values go first."""
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in (dataset.get(groups) or [])[:1]:
            for macro in _MACROS:
                for item in (group.get(macro) or [])[:1]:
                    for element in item:
                        if element.tag not in dataset:
                            dataset.add(element)


def _luma(colour_HWC: window.Stored, bits: int) -> Grey:
    """RGB of so many bits in grey; windows have no meaning for colour images (PS3.3 C.11.2.1.2.1)."""
    weights = np.array(LUMA) / (2.0**bits - 1.0)
    return window.by_rows(colour_HWC, lambda block: window.stretch(block @ weights, 0.0, 1.0))


def _show_grey(dataset: pydicom.Dataset, stored_HW: window.Stored) -> Grey:
    padding = padding_range(dataset)
    rescale = _modality_step(dataset, lowest=float(stored_HW.min()))
    inverted = is_inverted(dataset)
    exact = stored_HW.dtype.kind == "f"
    look = _voi_look(dataset, rescale(_ends(stored_HW)), exact=exact)
    look = look or _percentile_look(stored_HW, rescale, padding)

    def shown(stored: window.Stored) -> Grey:
        grey = look(rescale(stored.astype(np.float64)))
        if inverted:
            np.subtract(255, grey, out=grey)
        if padding is not None:
            grey[(stored >= padding[0]) & (stored <= padding[1])] = 0
        return grey

    if not window.has_levels(stored_HW):
        return window.by_rows(stored_HW, shown)
    levels_L = window.levels(stored_HW)
    return window.look_up(stored_HW, levels_L, shown(levels_L))


def _ends(stored_HW: window.Stored) -> Values:
    return np.array([stored_HW.min(), stored_HW.max()], np.float64)


def _modality_step(dataset: pydicom.Dataset, *, lowest: float) -> Step:
    """Modality LUT, else Rescale Slope and Intercept (PS3.3 C.11.1); a slope of 0 counts as 1."""
    if dataset.get("SOPClassUID") not in _MODALITY_LUT_FOR_MEASURING:
        table = read_lut(
            dataset,
            "ModalityLUTSequence",
            lowest=lowest,
            is_little_endian=dataset.original_encoding[1] is not False,
        )
        if table is not None:
            return table
    slope, intercept = _decimal(dataset.get("RescaleSlope")), _decimal(dataset.get("RescaleIntercept"))

    def rescale(values: Values) -> Values:
        with np.errstate(over="ignore"):
            rescaled = values * (slope or 1.0) + (intercept or 0.0)
        if not np.isfinite(rescaled).all():
            raise ImageError(Code.CORRUPT, "the rescale slope or intercept is not finite")
        return rescaled

    return rescale


def _voi_look(dataset: pydicom.Dataset, range_2: Values, *, exact: bool) -> Look | None:
    """The first VOI LUT, else the first window (PS3.3 C.11.2.1); None when the header brings neither.

    The standard calls tables and windows alternative views and leaves the choice to the viewer; pydicom,
    cornerstone3D and fo-dicom take the table too, for it says more than the window that stands in for it.
    """
    table = read_lut(
        dataset,
        "VOILUTSequence",
        lowest=float(range_2.min()),
        is_little_endian=dataset.original_encoding[1] is not False,
    )
    if table is not None:
        return _table_look(table)
    try:
        centre, width = _decimal(dataset.get("WindowCenter")), _decimal(dataset.get("WindowWidth"))
    except (ValueError, TypeError):  # a window that is no number is no window
        return None
    if centre is None or width is None or not width > 0 or not np.isfinite([centre, width]).all():
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    if exact and function != "SIGMOID":  # the half steps of LINEAR are between integers
        function = "LINEAR_EXACT"
    return lambda values: window.apply_window(values, centre=centre, width=width, function=function)


def _table_look(table: Lut) -> Look:
    return lambda values: window.stretch(table(values), 0.0, table.top)


def _percentile_look(stored_HW: window.Stored, rescale: Step, padding: Padding | None) -> Look:
    """A window over the robust range of what is not padding (PS3.3 C.7.5.1.1.2, note 2)."""
    low, high = window.robust_bounds(
        stored_HW, rescale=rescale, native=lambda stored: _native(stored, padding)
    )
    return lambda values: window.stretch(values, low, high)


def _native(stored: window.Stored, padding: Padding | None) -> window.Mask:
    if padding is None:
        return np.ones(stored.shape, np.bool_)
    return (stored < padding[0]) | (stored > padding[1])


def padding_range(dataset: pydicom.Dataset) -> Padding | None:
    """The stored values, both included, that mark pixels beside the image (PS3.3 C.7.5.1.1.2).

    Pixel Padding Value (0028,0120) alone, or the range up to Pixel Padding Range Limit (0028,0121). Both are
    stored values, whose VR (US or SS) is often not that of the pixels; the bits are what counts.
    """
    bits, signed = int(dataset.BitsAllocated), int(dataset.get("PixelRepresentation") or 0) == 1
    ends = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        value = dataset.get(keyword)
        if isinstance(value, int):
            word = value % 2**bits
            ends.append(word - 2**bits if signed and word >= 2 ** (bits - 1) else word)
    return (min(ends), max(ends)) if ends and dataset.get("PixelPaddingValue") is not None else None


def is_inverted(dataset: pydicom.Dataset) -> bool:
    """Whether the lowest value is white.

    MONOCHROME1 says so (PS3.3 C.7.6.3.1.2), and so does Presentation LUT Shape INVERSE (C.11.6.1.2), which
    has to go with it; together they say it once. Fuji's DX objects are known for shapes that contradict the
    right photometric interpretation (dcm4che issue 944), so IDENTITY does not undo MONOCHROME1.
    """
    shape = str(dataset.get("PresentationLUTShape") or "").strip().upper()
    return shape == "INVERSE" or dataset.PhotometricInterpretation == "MONOCHROME1"


def _decimal(value: object) -> float | None:
    """The first of one or several decimal strings; None when it is missing or empty."""
    if isinstance(value, MultiValue):
        value = value[0] if value else None
    return None if value is None or value == "" else float(value)  # type: ignore[arg-type]
