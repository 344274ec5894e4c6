from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from batch_fracture import schema
from batch_fracture.decode.dicom import ALLOWED, ALLOWED_UIDS
from batch_fracture.decode.header import ImageHeader

OF_EVERY_IMAGE = {"media_type", "rows", "columns", "bits_stored"}
NAMES = {field.name for field in fields(ImageHeader)}


def test_every_field_is_a_column_of_readings() -> None:
    assert set(schema.READINGS.names) >= NAMES


def test_nothing_beyond_the_allow_list_has_a_field() -> None:
    assert {*ALLOWED, *ALLOWED_UIDS, "transfer_syntax_uid"} == NAMES - OF_EVERY_IMAGE


def test_what_an_image_does_not_say_is_none() -> None:
    header = ImageHeader(media_type="image/png")
    assert [getattr(header, name) for name in sorted(NAMES - {"media_type"})] == [None] * (len(NAMES) - 1)
    with pytest.raises(FrozenInstanceError):
        header.rows = 3  # type: ignore[misc]
