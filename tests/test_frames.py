from __future__ import annotations

import drawing
import numpy as np
from pydicom.uid import ExplicitVRLittleEndian

from batch_fracture.decode import dicom_object, frames


def test_stored_values_come_as_they_are() -> None:
    stored_HW = drawing.grey().astype(np.uint16) * 16
    content = drawing.dicom(stored_HW)
    frame_HW = frames.stored_frame(content, dicom_object.parse(content), ExplicitVRLittleEndian)
    np.testing.assert_array_equal(frame_HW, stored_HW)
    assert frame_HW.dtype == np.uint16
