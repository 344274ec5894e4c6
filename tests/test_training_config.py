"""The recipe is checked once, before anything is read."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from batch_fracture.errors import ConfigError
from training.config import Augmentation, Source, TrainingConfig, read_config
from training.datasets import fracatlas_subset
from training.label_files import write_table

SHARED = Path(__file__).parents[2] / "shared" / "radiographs"
SHIPPED = Path(__file__).parents[1] / "training" / "configs"
LEAST = """
name = "m"
labels = "l.csv"
images = "i"
out = "o"
[source]
name = "drawn"
licence = "CC0"
citation = "us"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_name_themselves(path: Path) -> None:
    config = read_config(path)
    assert config.name == path.stem
    assert f"python -m training.train --config training/configs/{path.name}" in path.read_text(
        encoding="utf-8"
    )


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared radiographs are not beside the repository")
@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_pass_a_rehearsal(path: Path, tmp_path: Path) -> None:
    table = tmp_path / "fracatlas.csv"
    write_table(table, fracatlas_subset.read(SHARED))
    places = ["--labels", table, "--out", tmp_path / "bundle"]
    done = subprocess.run(
        [sys.executable, "-m", "training.train", "--config", path, "--dry-run", *places],
        cwd=SHIPPED.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("dry run: labels, images and recipe are in order")
    assert list(tmp_path.iterdir()) == [table]


def test_defaults_flags_and_types(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, LEAST), epochs=3, workers=None, out=tmp_path / "b")
    assert (config.epochs, config.workers, config.out, config.labels) == (3, 1, tmp_path / "b", Path("l.csv"))
    assert config.source == Source(name="drawn", licence="CC0", citation="us")
    assert config.augmentation == Augmentation()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("epoch = 3", "", "unknown key epoch; known are accumulation,"),
        ("", "mood = 3", r"unknown key source\.mood"),
        ("epochs = true", "", "epochs = True: it must be of type int"),
        ('epochs = "3"', "", "epochs = '3': it must be of type int"),
        ("epochs = 0", "", "epochs = 0: it must be 1 or more"),
        ("batch_size = 7\nworkers = 2", "", "batch_size = 7 cannot be shared equally by 2 workers"),
        ("learning_rate = 0", "", r"learning_rate = 0\.0: it must be above 0"),
        ("val_share = 1.0", "", r"val_share = 1\.0: it must be above 0 and below 1"),
        ("allow_near_duplicates = 1", "", "allow_near_duplicates = 1: it must be of type bool"),
        ("ema_decay = 1.0", "", r"ema_decay = 1\.0"),
        ("batch_size = 8\naccumulation = 3", "", "shared equally by 1 workers in 3 pieces each"),
        ("layer_decay = 1.1", "", r"layer_decay = 1\.1: it must be above 0 and at most 1"),
        ("frozen_stages = -1", "", "frozen_stages = -1: it must be 0 or more"),
        ("mixup = -0.1", "", r"mixup = -0\.1: it must be 0 or more"),
        ("keep_checkpoints = 0", "", "keep_checkpoints = 0: it must be 1 or more"),
        ("batchnorm = 1", "", "batchnorm = 1: it must be of type str"),
        ('head = "dense"', "", "head = 'dense': known are pooled, evidence"),
        ('balance = "luck"', "", "balance = 'luck': known are positive_weight, sampler"),
        ("fp32_stride = 3", "", "fp32_stride = 3: known are 2, 4, 8"),
        ('balance = "sampler"\npositive_weight = 2', "", "would make up for rare fractures twice"),
        ('precision = "fp8"', "", "precision = 'fp8': known are fp32, bf16"),
        ("input_size = 8", "", "input_size: input size 8 is not within 32 to 2048"),
        ("augmentation = 3", "", "augmentation = 3: it must be a table"),
        ("= 3", "", "not TOML"),
    ],
)
def test_refused(tmp_path: Path, before: str, after: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(written(tmp_path, f"{before}\n{LEAST}{after}\n"))


def test_missing_key_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipe\.toml: source\.citation is missing"):
        read_config(written(tmp_path, LEAST.replace('citation = "us"', "")))
    with pytest.raises(ConfigError, match=r"absent\.toml: No such file or directory"):
        read_config(tmp_path / "absent.toml")


@pytest.mark.parametrize("kind", [Augmentation, Source, TrainingConfig])
def test_every_field_is_documented(kind: type) -> None:
    source = Path(__file__).parents[1] / "training" / "config.py"
    lines = source.read_text(encoding="utf-8").splitlines()
    start = lines.index(f"class {kind.__name__}:")
    for field in dataclasses.fields(kind):
        at = next(i for i in range(start, len(lines)) if lines[i].startswith(f"    {field.name}: "))
        assert lines[at + 1].startswith('    """'), field.name
