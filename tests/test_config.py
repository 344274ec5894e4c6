from __future__ import annotations

from pathlib import Path

import pytest

from batch_fracture.config import RunConfig, read_toml
from batch_fracture.errors import ConfigError


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
