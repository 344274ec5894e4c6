"""What a run says of itself: the words by drawn watches, the figures by a real run."""

from collections.abc import Callable

import pyarrow as pa
import pytest

from batch_fracture import schema
from batch_fracture.explain import Watch, as_lines, explained
from batch_fracture.summary import Report, as_dict, as_text


def block(count: int, *, node: str = "n1", **seconds: float) -> pa.Table:
    """Rows of one block; `seconds` of each."""
    given = {f"{stage}_s": seconds.get(stage, 0.0) for stage in ("fetch", "decode", "wait", "infer")}
    rows = [{"reading_id": f"{node} {number}", "node": node, **given} for number in range(count)]
    return pa.Table.from_pylist(rows, schema=pa.schema([*schema.UNIT_FILE, *schema.WORK]))


def watch(*, cores: int = 2, steady_s: float = 10.0, **seconds: float) -> Watch:
    """Two blocks of 50 images, 10 s apart; `seconds` of each image."""
    found = Watch()
    found.begin(cores=cores, classifiers=1, on_gpu=False)
    for node in ("n1", "n2"):
        rows = found.take(block(50, node=node, **seconds))
        assert rows.schema.equals(schema.UNIT_FILE)
        assert len(rows) == 50
    found.last_at = (found.first_at or 0.0) + steady_s
    return found


def test_seconds_become_rates_and_shares() -> None:
    found = explained(watch(fetch=0.01, decode=0.12, infer=0.04, wait=0.2), total_s=14.0)
    assert found["images"] == 100
    assert found["nodes"] == {"n1": 50, "n2": 50}
    assert found["steady_images_per_s"] == pytest.approx(5.0)  # the second block, in 10 s
    decode = found["stages"]["decode"]
    assert decode["seconds"] == pytest.approx(12.0)
    assert decode["images_per_worker_s"] == pytest.approx(1 / 0.12)
    assert decode["busy"] == {"cores": pytest.approx(0.3)}  # 0.12 s for each of 5 a second, on 2 cores
    assert found["stages"]["fetch"]["busy"] == {}
    assert found["images_waiting_for_infer"] is None  # one process does both
    lines = "\n".join(as_lines(found))
    assert "decode, all workers           12.0" in lines
    assert "decode-bound: the CPUs decode most of the time: add CPU nodes" in lines
    assert "5.0 images/s from the first block to the last; 2 nodes" in lines


@pytest.mark.parametrize(
    ("seconds", "bound"),
    [
        ({"decode": 0.15, "infer": 0.02}, "decode"),
        ({"decode": 0.05, "infer": 0.12}, "infer"),
        ({"fetch": 0.3, "decode": 0.05, "infer": 0.05}, "fetch"),
    ],
)
def test_the_busiest_stage_bounds_a_run_on_cpus(seconds: dict[str, float], bound: str) -> None:
    assert explained(watch(**seconds), total_s=12.0)["bound"] == bound


@pytest.mark.parametrize(("infer", "bound"), [(0.18, "GPU"), (0.1, "GPU feed")])
def test_gpus_are_busy_or_wait(infer: float, bound: str) -> None:
    on_gpu = watch(decode=0.15, infer=infer)
    on_gpu.on_gpu = True
    assert explained(on_gpu, total_s=12.0)["bound"] == bound


def test_images_queue_for_gpus() -> None:
    on_gpu = watch(decode=0.1, infer=0.09, wait=0.2)
    on_gpu.on_gpu = True
    found = explained(on_gpu, total_s=12.0)
    assert found["images_waiting_for_infer"] == pytest.approx(1.0)
    line = "5.0 images/s from the first block to the last; 1 decoded images waiting on average; 2 nodes"
    assert line in "\n".join(as_lines(found))


def test_short_runs_are_bound_by_what_stands_around_them() -> None:
    short = watch(steady_s=1.0, decode=0.01)
    short.seconds["start"] = 4.0
    assert explained(short, total_s=6.0)["bound"] == "start"
    short.seconds["plan"] = 5.0
    assert explained(short, total_s=11.0)["bound"] == "table"


def test_a_driver_that_cannot_keep_up() -> None:
    slow = watch(decode=0.15)
    with slow.time("keep"):
        pass
    assert 0 < slow.seconds["keep"] < 1
    slow.seconds["keep"] = 6.0
    assert explained(slow, total_s=12.0)["bound"] == "driver"


def test_one_block_has_no_steady_rate() -> None:
    found = Watch(cores=2)
    found.take(block(10, decode=0.1))
    said = explained(found, total_s=5.0)
    assert said["steady_images_per_s"] is None
    assert said["stages"]["decode"]["busy"] == {}
    assert "%" not in "\n".join(as_lines(said))


@pytest.mark.slow
def test_a_real_run_explains_itself(night: Callable[..., Report]) -> None:
    report = night(explain=True)
    found = as_dict(report)["explain"]
    books = report.books
    assert found["images"] == books.read + books.skipped + books.failed
    assert sum(found["nodes"].values()) == found["images"]
    for stage in ("decode", "infer", "start", "commit"):
        assert found["stages"][stage]["seconds"] > 0, stage
    assert "where the time went" in as_text(report)
    quiet = night(reread=True)
    assert "explain" not in as_dict(quiet)
