from __future__ import annotations

from batch_fracture.settings import ReadingSettings


def test_equal_settings_have_equal_digests_and_any_change_another() -> None:
    digests = {
        ReadingSettings().digest,
        ReadingSettings(modalities=("all",)).digest,
        ReadingSettings(max_pixels=1).digest,
        ReadingSettings(max_bytes=1).digest,
        ReadingSettings(max_inflation=1).digest,
        ReadingSettings(time_limit_s=1).digest,
        ReadingSettings(memory_limit_bytes=1).digest,
    }
    assert len(digests) == 7
    assert ReadingSettings(modalities=("CR", "DX", "RG")).digest in digests


def test_what_a_deflated_object_may_inflate_to() -> None:
    settings = ReadingSettings(max_bytes=200 * 2**20, max_inflation=100)
    assert settings.max_inflated_bytes(1000) == 64 * 2**20
    assert settings.max_inflated_bytes(2**20) == 100 * 2**20
    assert settings.max_inflated_bytes(3 * 2**20) == 200 * 2**20
    assert ReadingSettings(max_bytes=500).max_inflated_bytes(1000) == 500
