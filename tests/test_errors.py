from __future__ import annotations

import pytest

from batch_fracture import errors
from batch_fracture.codes import Code


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.BatchFractureError, 1),
        (errors.UsageError, 2),
        (errors.ConfigError, 2),
        (errors.SourceError, 2),
        (errors.ResultsError, 2),
        (errors.BundleError, 2),
        (errors.StoreError, 1),
        (errors.WriteError, 1),
        (errors.WorkHeldError, 4),
        (errors.BooksError, 1),
        (errors.StoreOutageError, 1),
        (errors.CommitError, 1),
    ],
)
def test_each_branch_has_its_exit_code(kind: type[errors.BatchFractureError], code: int) -> None:
    assert kind("x").exit_code == code


def test_an_image_error_is_no_error_of_the_run() -> None:
    error = errors.ImageError(Code.CORRUPT, "damaged")
    assert (error.code, error.message) == (Code.CORRUPT, "damaged")
    assert not isinstance(error, errors.BatchFractureError)
