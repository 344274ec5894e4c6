from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batch_fracture import schema
from batch_fracture.bundle import Bundle
from batch_fracture.classifier import FractureClassifier, Provenance
from batch_fracture.engines import open_engine


def provenance(bundle: Bundle, **changes: Any) -> Provenance:
    values: dict[str, Any] = {
        "bundle": str(bundle.path),
        "model_digest": bundle.digest,
        "operating_point": "balanced",
        "threshold": 0.5,
        "engine": "openvino-fp32",
        "engine_asked": True,
        "num_threads": 1,
        "settings_digest": "s1",
        "run_id": "r1",
    }
    return Provenance(**{**values, **changes})


def decoded(count: int, unread: set[int] = frozenset()) -> tuple[pa.Table, np.ndarray]:
    pixels_BSS = np.random.default_rng(0).integers(0, 256, (count, 64, 64), np.uint8)
    rows = [
        {
            "reading_id": str(n),
            "image_uri": f"/x/{n}",
            "unit": 0,
            "status": "failed" if n in unread else "read",
            "error_code": "CORRUPT" if n in unread else None,
            "pixels": None if n in unread else pixels_BSS[n].tobytes(),
        }
        for n in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=schema.DECODED), pixels_BSS


def test_rows_keep_their_identity_and_get_calibrated_probabilities(tiny_bundle: Bundle) -> None:
    unread = {0, 3, 39}
    batch, pixels_BSS = decoded(40, unread)
    rows = FractureClassifier(provenance(tiny_bundle, threshold=0.51))(batch)
    assert rows.schema.equals(pa.schema([*schema.UNIT_FILE, *schema.WORK]))
    assert rows["wait_s"].to_pylist() == [0.0] * 40  # nobody said when they were decoded
    assert 0 < rows["infer_s"][0].as_py() < 60
    assert rows["reading_id"].to_pylist() == [str(n) for n in range(40)]
    engine = open_engine("openvino-fp32", tiny_bundle, num_threads=1)
    for n, row in enumerate(rows.to_pylist()):
        if n in unread:
            assert (row["logit"], row["probability"], row["fracture"]) == (None, None, None)
            assert (row["status"], row["error_code"]) == ("failed", "CORRUPT")
            continue
        logit = float(engine(pixels_BSS[n : n + 1])[0])
        assert row["logit"] == pytest.approx(logit, abs=1e-5)
        assert row["probability"] == pytest.approx(1 / (1 + np.exp(-(2.0 * row["logit"] + 0.1))), abs=1e-6)
        assert row["fracture"] == (row["probability"] >= np.float32(0.51))
        assert row["threshold"] == np.float32(0.51)
        assert (row["model"], row["model_digest"], row["engine"]) == (
            "tiny",
            tiny_bundle.digest,
            "openvino-fp32",
        )
        assert (row["run_id"], row["settings_digest"], row["pseudonym_key_id"]) == ("r1", "s1", None)


def test_a_batch_with_nothing_to_classify(tiny_bundle: Bundle) -> None:
    batch, _ = decoded(2, {0, 1})
    rows = FractureClassifier(provenance(tiny_bundle))(batch)
    assert rows["probability"].to_pylist() == [None, None]


def test_a_bundle_that_changed_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(RuntimeError, match="changed while the run went on"):
        FractureClassifier(provenance(tiny_bundle, model_digest="other"))
