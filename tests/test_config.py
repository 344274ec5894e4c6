from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from batch_fracture.config import RunConfig, read_toml
from batch_fracture.errors import ConfigError
from batch_fracture.settings import ReadingSettings


def test_paths_become_absolute_and_modalities_upper_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = RunConfig(source=("archive",), results="results", modalities=("cr", "dx"))
    assert config.source == (str(tmp_path / "archive"),)
    assert config.settings.modalities == ("CR", "DX")
    assert RunConfig(source=("a",), results="r", modalities=("ALL",)).settings.modalities == ("all",)


@pytest.mark.parametrize("results", ["archive", "archive/results", "archive/../archive/x"])
def test_results_inside_a_source_are_refused(tmp_path: Path, results: str) -> None:
    (tmp_path / "archive").mkdir()
    with pytest.raises(ConfigError, match="lies inside the source"):
        RunConfig(source=(str(tmp_path / "archive"),), results=str(tmp_path / results))


def test_results_behind_a_link_into_a_source_are_refused(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "archive")
    with pytest.raises(ConfigError, match="lies inside the source"):
        RunConfig(source=(str(tmp_path / "archive"),), results=str(tmp_path / "link" / "r"))


def test_something_must_be_named() -> None:
    with pytest.raises(ConfigError, match="no SOURCE"):
        RunConfig(source=(), results="r")
    with pytest.raises(ConfigError, match="no --results"):
        RunConfig(source=("a",), results="")
    with pytest.raises(ConfigError, match="--modalities is empty"):
        RunConfig(source=("a",), results="r", modalities=("",))


def test_a_file_has_the_flags_names(tmp_path: Path) -> None:
    path = tmp_path / "nightly.toml"
    path.write_text('source = ["/a"]\nmax-failed = 0.2\nretry_failed = true\n')
    assert read_toml(str(path)) == {"source": ["/a"], "max_failed": 0.2, "retry_failed": True}
    path.write_text("max-faild = 0.2\n")
    with pytest.raises(ConfigError, match=r"unknown key 'max_faild'; known are .*max-failed"):
        read_toml(str(path))
    path.write_text("max-failed = \n")
    with pytest.raises(ConfigError, match=r"nightly\.toml"):
        read_toml(str(path))
    with pytest.raises(ConfigError, match="No such file"):
        read_toml(str(tmp_path / "none.toml"))


def test_sources_inside_others_are_dropped_and_order_does_not_matter(tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("b", "a/x", "a", "a/../a", "ab")]
    expected = tuple(str(tmp_path / name) for name in ("a", "ab", "b"))
    for given in (names, names[::-1]):
        assert RunConfig(source=tuple(given), results=str(tmp_path / "r")).source == expected


@pytest.mark.parametrize(
    ("source", "said"),
    [("", "a SOURCE is empty"), ("ftp://b/x", "s3://BUCKET/PREFIX"), ("a\udcff", "not valid UTF-8")],
)
def test_what_is_no_source(source: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RunConfig(source=(source,), results="r")


def test_a_limit_that_would_never_get_on_is_refused() -> None:
    for flag in ("reread", "retry_failed"):
        with pytest.raises(ConfigError, match="the same images again every night"):
            RunConfig(source=("a",), results="r", limit=5, **{flag: True})


def test_a_choice_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match="--order 'random' is unknown; known are newest, oldest, listed"):
        RunConfig(source=("a",), results="r", order="random")
    with pytest.raises(ConfigError, match="--log-format 'xml' is unknown; known are rich, plain, json"):
        RunConfig(source=("a",), results="r", log_format="xml")


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ConfigError, match="lead in a circle"):
        RunConfig(source=(str(tmp_path / "loop"),), results=str(tmp_path / "r"))


def test_limits_of_one_image_reach_the_settings_and_their_digest(tmp_path: Path) -> None:
    limits = {
        "max_pixels": 1000,
        "max_bytes": 2000,
        "max_inflation": 3,
        "time_limit_s": 4.5,
        "memory_limit_bytes": 2**30,
    }
    path = tmp_path / "nightly.toml"
    path.write_text("".join(f"{name.replace('_', '-')} = {value}\n" for name, value in limits.items()))
    config = RunConfig(source=("a",), results="r", **read_toml(str(path)))
    assert config.settings == ReadingSettings(**limits)
    assert config.settings.digest != RunConfig(source=("a",), results="r").settings.digest
    assert set(limits) == {field.name for field in fields(ReadingSettings)} - {"modalities"}
    for name in limits:
        with pytest.raises(ConfigError, match="name a number above 0"):
            RunConfig(source=("a",), results="r", **{name: 0})
    with pytest.raises(ConfigError, match="--time-limit-s nan"):
        RunConfig(source=("a",), results="r", time_limit_s=float("nan"))


@pytest.mark.parametrize(
    "line",
    [
        "limit = 2.5",
        "limit = true",
        "max-pixels = 1e8",
        'max-bytes = "512MB"',
        'source = "a"',
        'source = ["a", 3]',
        "modalities = 5",
        "max-failed = true",
        'json = "yes"',
        "model = 3",
        "operating-point = true",
    ],
)
def test_a_value_of_the_wrong_kind(tmp_path: Path, line: str) -> None:
    path = tmp_path / "nightly.toml"
    path.write_text(line + "\n")
    with pytest.raises(ConfigError, match="is of the wrong kind"):
        read_toml(str(path))
