"""Logits of labelled images as a table, so that figures can be computed again, pooled, or checked elsewhere.

image_uri  string   the image, as the table of labels names it
label      int8     0 or 1
group      string   as in the table of labels
region     string   may be empty
fold       int32    which of several trainings scored it; 0 when there is one
part       string   `test`: the network never saw it; `calibration`: nor did it, but others may use its label
logit      float32  raw
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from batch_fracture.errors import UsageError
from training.inputs import Examples

SCHEMA = pa.schema(
    {
        "image_uri": pa.string(),
        "label": pa.int8(),
        "group": pa.string(),
        "region": pa.string(),
        "fold": pa.int32(),
        "part": pa.string(),
        "logit": pa.float32(),
    }
)
PARTS = ("test", "calibration")


class ScoresError(UsageError):
    """A table of scores cannot be measured; the message names file or fold, and the image."""


def score_table(
    examples: Examples, logit_N: npt.NDArray[np.float32], *, fold: int = 0, part: str = "test"
) -> pa.Table:
    """The rows of one network's answers.

    Args:
        examples: what was scored.
        logit_N: in the order of `examples.rows`.
        fold: which training.
        part: one of `PARTS`.
    """
    rows = examples.rows
    columns = {
        "image_uri": [row.name for row in rows],
        "label": [row.label for row in rows],
        "group": [row.group for row in rows],
        "region": [row.region for row in rows],
        "fold": [fold] * len(rows),
        "part": [part] * len(rows),
        "logit": logit_N,
    }
    return pa.table(columns, schema=SCHEMA)


def read_scores(paths: Sequence[Path]) -> pa.Table:
    """All rows of several files, Parquet or CSV; a file without `region` or `part` has `""` and `test`.

    Raises:
        ScoresError: a file cannot be read, a column is missing or of another kind, or rows contradict what
            the columns mean: see `check`.
    """
    table = pa.concat_tables([_read(path) for path in paths])
    check(table)
    return table


def check(table: pa.Table) -> None:
    """Refuse what would make figures too good, or nothing at all.

    Raises:
        ScoresError: a label is neither 0 nor 1, a logit is no number, a part has another name, an image is
            tested twice, or one group is tested in two folds, or tested and calibrated on in one.
    """
    if not pc.all(pc.is_in(table["label"], pa.array([0, 1], pa.int8()))).as_py():
        raise ScoresError("scores: a label is neither 0 nor 1")
    if table["logit"].null_count or not pc.all(pc.is_finite(table["logit"])).as_py():
        raise ScoresError("scores: a logit is missing or not finite")
    if others := set(table["part"].unique().to_pylist()) - set(PARTS):
        raise ScoresError(f"scores: part {sorted(map(str, others))[0]!r} is none of {', '.join(PARTS)}")
    tests = table.filter(pc.equal(table["part"], "test"))
    twice = tests.group_by("image_uri").aggregate([([], "count_all")])
    twice = twice.filter(pc.greater(twice["count_all"], 1))
    if len(twice):
        raise ScoresError(f"scores: {twice['image_uri'][0].as_py()} is tested more than once")
    fold_of: dict[str, int] = {}
    for group, fold in zip(tests["group"].to_pylist(), tests["fold"].to_pylist(), strict=True):
        if fold_of.setdefault(group, fold) != fold:
            raise ScoresError(
                f"scores: group {group!r} is tested in folds {fold_of[group]} and {fold}, so each of them "
                "trained on the other's; deal folds by group"
            )
    fitted = table.filter(pc.equal(table["part"], "calibration"))
    for group, fold in zip(fitted["group"].to_pylist(), fitted["fold"].to_pylist(), strict=True):
        if fold_of.get(group) == fold:
            raise ScoresError(f"scores: group {group!r} is tested and calibrated on in fold {fold}")


def _read(path: Path) -> pa.Table:
    try:
        if path.suffix == ".csv":
            texts = pyarrow.csv.ConvertOptions(
                column_types={name: SCHEMA.field(name).type for name in SCHEMA.names},
                strings_can_be_null=False,
            )
            table = pyarrow.csv.read_csv(path, convert_options=texts)
        else:
            table = pyarrow.parquet.read_table(path)
        for name, value in (("region", ""), ("part", "test")):
            if name not in table.column_names:
                table = table.append_column(name, pa.repeat(value, len(table)))
        if missing := [name for name in SCHEMA.names if name not in table.column_names]:
            raise ScoresError(f"scores {path}: column {missing[0]} is missing")
        return table.select(SCHEMA.names).cast(SCHEMA)
    except (OSError, pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise ScoresError(f"scores {path}: cannot be read ({error})") from error
