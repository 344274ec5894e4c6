from __future__ import annotations

import json
from collections import Counter

from test_plan import PURPOSE

from batch_fracture.results.records import Books, Outcome
from batch_fracture.summary import Report, as_dict, as_text

REPORT = Report(
    outcome=Outcome.COMPLETE,
    books=Books(listed=1210, unchanged=200, read=1000, skipped=7, failed=3, positive=150),
    purpose=PURPOSE,
    run_id="r1",
    engine="openvino-fp32",
    table_version=4,
    codes=Counter({"TRUNCATED": 3, "ANIMATED": 7}),
    seconds=61.23,
    images_per_s=50.04,
)


def test_the_summary_can_be_read_at_seven_in_the_morning() -> None:
    text = as_text(REPORT)
    assert (
        "listed            1,210   = 200 unchanged + 1,000 read + 7 skipped + 3 failed + 0 not reached"
        in text
    )
    assert "the books balance" in text
    assert "15.0% of the read ones; balanced: probability >= 0.500" in text
    assert "TRUNCATED             3" in text
    assert "images/s" in text
    assert max(map(len, text.splitlines())) <= 110


def test_nothing_to_do_says_so_and_what_waits() -> None:
    idle = Report(
        outcome=None,
        books=Books(listed=10, unchanged=10),
        purpose=PURPOSE,
        retried_later=2,
        message="nothing to do: every listed image is settled for this model",
        seconds=0.4,
    )
    text = as_text(idle)
    assert text.startswith("nothing to do: every listed image is settled for this model (0.4 s)")
    assert "2   transient failures, tried again on a later night (now: --retry-failed)" in text
    assert as_dict(idle)["outcome"] == "nothing_to_do"


def test_the_object_is_plain_json() -> None:
    values = json.loads(json.dumps(as_dict(REPORT)))
    assert (values["read"], values["codes"], values["outcome"]) == (
        1000,
        {"TRUNCATED": 3, "ANIMATED": 7},
        "complete",
    )
    assert values["listed"] == sum(
        values[key] for key in ("unchanged", "read", "skipped", "failed", "not_reached")
    )
