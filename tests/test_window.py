from __future__ import annotations

import numpy as np
import pytest

from batch_fracture.decode import window


def _shown(values: list[float], **how: object) -> list[int]:
    return window.apply_window(np.array(values, np.float32), **how).tolist()  # type: ignore[arg-type]


def test_linear_window() -> None:
    # PS3.3 C.11.2.1.2.1, centre 2048, width 4096: y = ((x - 2047.5) / 4095 + 0.5) * 255
    assert _shown([-5, 0, 1024, 2047, 2048, 4095, 9999], centre=2048, width=4096) == [
        0,
        0,
        64,
        127,
        128,
        255,
        255,
    ]
    # the standard's own example: centre 100, width 50, x <= 75 is 0, x > 124 is 255
    assert _shown([75, 76, 124, 125], centre=100, width=50) == [0, 5, 255, 255]


def test_linear_window_of_width_one_is_a_step() -> None:
    assert _shown([99, 99.5, 99.6, 100], centre=100, width=1) == [0, 0, 255, 255]


def test_narrower_windows_are_exact() -> None:
    assert _shown([0.2, 0.25, 0.5, 0.75, 0.8], centre=0.5, width=0.5) == [0, 0, 128, 255, 255]
    assert _shown([75, 76, 124, 125], centre=100, width=50, function="NONSENSE") == [0, 5, 255, 255]


def test_linear_exact_window() -> None:
    # C.11.2.1.3.2: y = ((x - 100) / 100 + 0.5) * 255
    assert _shown([49, 50, 75, 100, 150, 151], centre=100, width=100, function="LINEAR_EXACT") == [
        0,
        0,
        64,
        128,
        255,
        255,
    ]
    assert _shown([99.7, 100, 100.3], centre=100, width=0.5, function="LINEAR_EXACT") == [0, 128, 255]


def test_sigmoid_window() -> None:
    # C.11.2.1.3.1: y = 255 / (1 + exp(-4 (x - 100) / 40)); exp(-1) gives 0.7311, exp(1) 0.2689
    assert _shown([90, 100, 110], centre=100, width=40, function="SIGMOID") == [69, 128, 186]
    assert _shown([-1e30, 1e30], centre=100, width=40, function="SIGMOID") == [0, 255]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_levels_and_their_counts(dtype: type) -> None:
    stored_HW = np.array([[3, 5, 5], [4, 3, 5]], dtype) - dtype(4)
    if np.dtype(dtype).kind == "u":
        stored_HW = np.array([[3, 5, 5], [4, 3, 5]], dtype)
    levels_L = window.levels(stored_HW)
    assert levels_L.tolist() == [int(stored_HW.min()) + step for step in range(3)]
    assert window.count_levels(stored_HW, levels_L).tolist() == [2, 1, 3]


def test_levels_over_the_whole_range_of_16_bits() -> None:
    stored_HW = np.array([[-32768, 32767]], np.int16)
    levels_L = window.levels(stored_HW)
    table_L = np.zeros(65536, np.uint8)
    table_L[-1] = 9
    assert window.look_up(stored_HW, levels_L, table_L).tolist() == [[0, 9]]


@pytest.mark.parametrize("seed", range(5))
def test_robust_range_is_numpys_percentile(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stored_HW = rng.normal(20_000, 3_000, (61, 47 + seed)).astype(np.uint16)
    levels_L = window.levels(stored_HW)
    falling_L = 7.0 - 0.25 * levels_L.astype(np.float64)
    for values_L in (levels_L.astype(np.float64), falling_L):
        expected = np.percentile(values_L[stored_HW - int(levels_L[0])], [0.5, 99.5])
        low_high = window.robust_range(values_L, window.count_levels(stored_HW, levels_L))
        np.testing.assert_allclose(low_high, expected, rtol=1e-12)


def test_percentile_window_ignores_a_few_hot_pixels() -> None:
    stored_HW = np.linspace(1000, 2000, 10_000).astype(np.uint16).reshape(100, 100)
    stored_HW[0, :5] = 65535
    grey_HW = window.window_by_percentiles(stored_HW)
    assert grey_HW[0, :5].tolist() == [255] * 5
    assert grey_HW[-1, -1] == 255
    assert 126 <= grey_HW[50, 0] <= 129


def test_integers_and_floats_look_alike() -> None:
    stored_HW = np.random.default_rng(0).normal(500, 100, (300, 200)).astype(np.int16)
    by_table_HW = window.window_by_percentiles(stored_HW)
    for dtype in (np.int32, np.float32):
        by_value_HW = window.window_by_percentiles(stored_HW.astype(dtype))
        assert np.abs(by_table_HW.astype(int) - by_value_HW.astype(int)).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_sample_tells_the_percentiles(dtype: type) -> None:
    deep_HW = np.random.default_rng(0).gamma(3, 500, (2100, 2000)).astype(dtype)
    low, high = np.percentile(deep_HW, [0.5, 99.5])
    expected_HW = np.clip((deep_HW - low) / (high - low), 0, 1) * 255
    assert np.abs(window.window_by_percentiles(deep_HW) - expected_HW).max() <= 2


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_what_a_sample_misses_still_counts(dtype: type) -> None:
    blank_HW = np.full((2100, 2000), 700, dtype)
    blank_HW[1, 5] = 900
    assert np.unique(window.window_by_percentiles(blank_HW)).tolist() == [0, 255]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_flat_and_nearly_flat_images(dtype: type) -> None:
    flat_HW = np.full((40, 50), 700, dtype)
    assert not window.window_by_percentiles(flat_HW).any()
    flat_HW[0, 0] = 900  # fewer pixels than a percentile sees
    assert np.unique(window.window_by_percentiles(flat_HW)).tolist() == [0, 255]


def test_blocks_of_rows_join_seamlessly(monkeypatch: pytest.MonkeyPatch) -> None:
    image_HW = np.arange(7 * 13, dtype=np.uint8).reshape(7, 13)
    monkeypatch.setattr(window, "_BLOCK_PIXELS", 30)
    np.testing.assert_array_equal(window.by_rows(image_HW, lambda block_HW: 255 - block_HW), 255 - image_HW)
    monkeypatch.setattr(window, "_BLOCK_PIXELS", 5)  # less than one row
    np.testing.assert_array_equal(window.by_rows(image_HW, lambda block_HW: block_HW), image_HW)
