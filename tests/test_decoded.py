from __future__ import annotations

import encoding
import pytest

from batch_fracture.codes import Code
from batch_fracture.decode import decoded
from batch_fracture.errors import ImageError

PIXEL = encoding.image_pixel(encoding.TWELVE)


@pytest.mark.parametrize(
    ("min_long_side", "times"),
    [(None, 0), (160, 0), (41, 0), (40, 1), (21, 1), (20, 2), (10, 3), (5, 3), (1, 3)],
)
def test_the_longer_side_stays_long_enough(min_long_side: int | None, times: int) -> None:
    assert decoded.halvings(PIXEL, min_long_side) == times


def test_header_and_codestream_speak_of_one_picture() -> None:
    decoded.agree(PIXEL, 160, 136, 1, 12)
    for rows, columns, samples, precision in ((161, 136, 1, 12), (160, 136, 3, 12), (160, 136, 1, 17)):
        with pytest.raises(ImageError) as caught:
            decoded.agree(PIXEL, rows, columns, samples, precision)
        assert caught.value.code == Code.CORRUPT


def test_words_of_decoders_stay_inside() -> None:
    def fail() -> None:
        raise RuntimeError("Premature end of JPEG file: DOE^JANE")

    with pytest.raises(ImageError) as caught:
        decoded.strictly(fail)
    assert (caught.value.code, "DOE" in caught.value.message) == (Code.TRUNCATED, False)

    def exhaust() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        decoded.strictly(exhaust)
