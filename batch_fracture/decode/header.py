"""What is known of an image before its pixels are decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """The stored image as its header describes it; field names are column names of `readings`.

    The DICOM fields are the whole allow-list: nothing else of a header leaves an image.
    """

    media_type: str
    rows: int | None = None
    columns: int | None = None
    bits_stored: int | None = None
    photometric_interpretation: str | None = None
    transfer_syntax_uid: str | None = None
    modality: str | None = None
    body_part_examined: str | None = None
    view_position: str | None = None
    laterality: str | None = None
    manufacturer: str | None = None
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None
