from __future__ import annotations

from batch_fracture.settings import ReadingSettings


def test_equal_settings_have_equal_digests_and_any_change_another() -> None:
    digests = {
        ReadingSettings().digest,
        ReadingSettings(modalities=("all",)).digest,
        ReadingSettings(max_pixels=1).digest,
        ReadingSettings(max_bytes=1).digest,
        ReadingSettings(time_limit_s=1).digest,
        ReadingSettings(memory_limit_bytes=1).digest,
    }
    assert len(digests) == 6
    assert ReadingSettings(modalities=("CR", "DX", "RG")).digest in digests
