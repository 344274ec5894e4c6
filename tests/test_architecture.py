"""Guards of the house: import directions, light starts, sizes, a test file per module, documentation."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from batch_fracture.cli import cli

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "batch_fracture").rglob("*.py"))
TRAINING = sorted((ROOT / "training").rglob("*.py"))
TESTS = sorted((ROOT / "tests").glob("*.py"))
ONE_TEST_FOR_ALL = {"doctor", "engines", "synthetic"}
"""Packages whose parts are tested through their door."""
TESTED_WITH = {
    "cli_doctor": "test_contact_sheet.py",
    "cli_run": "test_cli.py",
    "bucket_folder": "test_results_folder.py",
    "copies": "test_results_commit.py",
    "manifest": "test_results_work.py",
    "report": "test_training_evaluate.py",
    "proof": "test_results_commit.py",
    "checking": "test_training_labelling.py",
    "cli_options": "test_cli.py",
    "cli_runs": "test_runs.py",
    "card": "test_training_shipped.py",
    "card_figures": "test_training_reporting.py",
    "checkpoint": "test_training_fit.py",
    "fold": "test_training_export.py",
    "dealt": "test_training_crossvalidate.py",
    "fracatlas_subset": "test_training_datasets_fracatlas.py",
    "loop": "test_training_fit.py",
    "problems": "test_training_labels.py",
    "provenance": "test_training_train.py",
    "tables": "test_training_config.py",
    "settle": "test_run.py",
}
"""Modules that are tested beside what they serve."""
MAX_FILE_LINES, MAX_FUNCTION_LINES = 250, 40


def imported(path: Path) -> set[str]:
    """Top-level names of the packages that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


def test_imports_point_one_way() -> None:
    for path in PACKAGE:
        assert not imported(path) & {"training", "jobs", "tests"}, path
    for path in TRAINING:
        assert not imported(path) & {"jobs", "tests"}, path


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("batch_fracture", {"torch", "ray", "numpy", "pyarrow"}),
        ("batch_fracture.run, batch_fracture.query", {"torch", "ray", "openvino", "PIL", "pydicom"}),
        (
            "batch_fracture.pipeline, batch_fracture.engines.openvino_engine",
            {"torch", "timm", "duckdb", "deltalake"},
        ),
        ("batch_fracture.isolate, batch_fracture.doctor", {"torch", "ray", "duckdb", "deltalake"}),
    ],
)
def test_starts_are_light(modules: str, absent: set[str]) -> None:
    code = f"import sys, {modules}; print(sorted({absent!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_files_and_functions_stay_small() -> None:
    for path in [*PACKAGE, *TRAINING, *TESTS]:
        text = path.read_text()
        assert path.name != "utils.py"
        assert text.count("\n") <= MAX_FILE_LINES, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, f"{path}: {node.name}"


def test_every_module_has_its_test_file() -> None:
    for path in [*PACKAGE, *TRAINING]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        if path.name in ("__init__.py", "__main__.py") or (len(parts) > 2 and parts[1] in ONE_TEST_FOR_ALL):
            continue
        names = {
            TESTED_WITH.get(path.stem, ""),
            f"test_{'_'.join(parts[1:])}.py",
            f"test_{'_'.join(parts)}.py",
            f"test_{parts[-1]}.py",
        }
        assert names & {test.name for test in TESTS}, f"{path}: none of {sorted(names)}"


def test_the_readme_knows_every_command() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in cli.commands:
        assert f"batch-fracture {name}" in readme, name
    for command in ("make demo", "make test"):
        assert command in readme


def test_every_dependency_is_explained() -> None:
    design = (ROOT / "docs" / "design.md").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    block = project.split("dependencies = [")[1].split("\n]")[0]
    for name in re.findall(r'"([A-Za-z0-9_-]+)', block):
        assert f"`{name}`" in design, name


def test_every_error_stands_in_the_tree() -> None:
    text = (ROOT / "batch_fracture" / "errors.py").read_text()
    tree = ast.get_docstring(ast.parse(text)) or ""
    for name in re.findall(r"^class (\w+)", text, flags=re.MULTILINE):
        assert name in tree, name
