from __future__ import annotations

import pytest

from batch_fracture import codes
from batch_fracture.codes import Code, Status

SKIPPED = ["NOT_AN_IMAGE", "NOT_A_RADIOGRAPH", "MULTI_FRAME", "ANIMATED"]
FINAL = ["TRUNCATED", "CORRUPT", "UNSUPPORTED", "TOO_LARGE", "DECODER_CRASHED", "TIMED_OUT", "OUT_OF_MEMORY"]
TRANSIENT = ["GONE", "CHANGED", "ACCESS_DENIED", "STORE_ERROR", "NAME_UNREADABLE"]


def test_the_codes_are_those_of_the_contract_and_no_others() -> None:
    assert [code.value for code in Code] == SKIPPED + FINAL + TRANSIENT


@pytest.mark.parametrize("name", SKIPPED)
def test_skipped(name: str) -> None:
    assert (Code(name).status, Code(name).transient) == (Status.SKIPPED, False)


@pytest.mark.parametrize("name", FINAL)
def test_failed_for_good(name: str) -> None:
    assert (Code(name).status, Code(name).transient) == (Status.FAILED, False)


@pytest.mark.parametrize("name", TRANSIENT)
def test_failed_for_now(name: str) -> None:
    assert (Code(name).status, Code(name).transient) == (Status.FAILED, True)


def test_statuses_and_codes_are_written_as_they_are_named() -> None:
    assert [str(status) for status in Status] == ["read", "skipped", "failed"]
    assert f"{Code.TOO_LARGE}" == "TOO_LARGE"


def test_settings_decide_only_codes_that_are_not_tried_again_anyway() -> None:
    assert codes.DECIDED_BY_SETTINGS.isdisjoint(codes.TRANSIENT)
    assert sorted(codes.DECIDED_BY_SETTINGS) == [
        "NOT_A_RADIOGRAPH",
        "OUT_OF_MEMORY",
        "TIMED_OUT",
        "TOO_LARGE",
    ]
