"""DICOM seeds of the fuzzer: plain ones of every kind, and a compressed one of every transfer syntax."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import drawing
import encoding
import fuzz_seeds
import imagecodecs
import numpy as np
import pydicom
from fuzz_seeds import COLOUR, DEEP, GREY, MARKER
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

SHARED = Path(__file__).parents[2] / "shared" / "dicom"
MAX_SHARED_BYTES = 100_000
SAID = {"PatientName": MARKER, "PatientID": MARKER, "StudyDescription": MARKER, "PatientComments": MARKER}


@functools.cache
def dicoms() -> dict[str, bytes]:
    """Uncompressed and deflated objects."""
    files = {}
    for name, syntax in (
        ("implicit", ImplicitVRLittleEndian), ("explicit", "1.2.840.10008.1.2.1"),
        ("big-endian", ExplicitVRBigEndian), ("deflated", DeflatedExplicitVRLittleEndian),
    ):  # fmt: skip
        for kind, (stored, tags) in _kinds().items():
            files[f"dicom-{name}-{kind}"] = drawing.dicom(stored, syntax=syntax, **SAID, **tags)
    for syntax in (ImplicitVRLittleEndian, "1.2.840.10008.1.2.1", ExplicitVRBigEndian):
        files[f"dicom-bare-{syntax}"] = drawing.dicom(DEEP, syntax=syntax, preamble=False, **SAID)
    return files


def _kinds() -> dict[str, tuple[encoding.Stored, dict[str, Any]]]:
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [256, 0, 12], np.arange(0, 4096, 16, np.uint16).tobytes()
    lut = pydicom.Sequence([item])
    groups = pydicom.Dataset()
    groups.FrameVOILUTSequence = pydicom.Sequence([_window(900, 3000)])
    palette = {
        f"{colour}PaletteColorLookupTable{part}": value
        for colour in ("Red", "Green", "Blue")
        for part, value in (
            ("Descriptor", [256, 0, 16]),
            ("Data", np.arange(0, 65536, 256, np.uint16).tobytes()),
        )
    }
    floats = {"PixelData": None, "FloatPixelData": GREY.astype("<f4").tobytes(), "BitsAllocated": 32}
    return {
        "grey": (DEEP, {"WindowCenter": 900, "WindowWidth": 2000, "Manufacturer": "ACME"}),
        "signed": (DEEP.astype(np.int16) - 900, {"PixelPaddingValue": -900, "RescaleSlope": 2}),
        "12": (DEEP, {"bits_stored": 12, "photometric": "MONOCHROME1", "PixelSpacing": [0.2, 0.1]}),
        "voi-lut": (DEEP, {"VOILUTSequence": lut, "PresentationLUTShape": "INVERSE"}),
        "modality-lut": (GREY, {"ModalityLUTSequence": lut, "WindowCenter": [1, 2], "WindowWidth": [3, 4]}),
        "palette": (GREY, {"photometric": "PALETTE COLOR", **palette}),
        "rgb": (COLOUR, {"photometric": "RGB"}),
        "planar": (COLOUR, {"photometric": "YBR_FULL", "PlanarConfiguration": 1}),
        "422": (COLOUR, {"photometric": "YBR_FULL_422", "PixelData": COLOUR[..., :2].tobytes()}),
        "float": (GREY, floats),
        "bits": (GREY, {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelData": bytes(60)}),
        "enhanced": (DEEP, {"SharedFunctionalGroupsSequence": pydicom.Sequence([groups])}),
        "frames": (DEEP[:8], {"PixelData": DEEP.tobytes(), "NumberOfFrames": 3}),
        "ct": (DEEP, {"Modality": "CT", "VOILUTFunction": "SIGMOID"}),
    }  # fmt: skip


def _window(centre: float, width: float) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.WindowCenter, item.WindowWidth = centre, width
    return item


@functools.cache
def compressed() -> dict[str, tuple[bytes, bytes]]:
    """Encapsulated objects: name -> the object, and the codestream within it."""
    files = {
        f"dicom-{name}": (encoding.dicom(stored, [codestream], syntax, **SAID), codestream)
        for name, (syntax, stored, codestream) in encoding.one_of_each().items()
    }
    for name, fragments in (("fragments", 4), ("one", 1)):
        syntax, stored, codestream = encoding.one_of_each()["jpeg-2000"]
        pixels = encapsulate([codestream], fragments_per_frame=fragments, has_bot=fragments == 1)
        files[f"dicom-{name}"] = (encoding.dicom(stored, [], syntax, PixelData=pixels, **SAID), codestream)
    syntax, stored, codestream = encoding.one_of_each()["jpeg-8"]
    pixels, offsets, lengths = encapsulate_extended([codestream] * 2)
    table = {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths, "NumberOfFrames": 2}
    files["dicom-extended"] = (encoding.dicom(stored, [], syntax, PixelData=pixels, **table), codestream)
    small = imagecodecs.jpeg2k_encode(GREY, level=0, codecformat="J2K")
    files["dicom-jpeg-2000-small"] = (encoding.dicom(GREY, [small], encoding.JPEG_2000), small)
    return files


@functools.cache
def shared() -> dict[str, bytes]:
    """The small files of ../shared/dicom, where it is."""
    paths = sorted(path for path in SHARED.rglob("*") if path.is_file() and path.suffix != ".csv")
    return {
        f"shared-{path.relative_to(SHARED)}": path.read_bytes()
        for path in paths
        if path.stat().st_size < MAX_SHARED_BYTES
    }


@functools.cache
def whole(*, with_shared: bool) -> dict[str, bytes]:
    """Every seed by name, in a fixed order."""
    files = fuzz_seeds.rasters() | dicoms() | {name: content for name, (content, _) in compressed().items()}
    return files | (shared() if with_shared else {})
