"""MLflow, when it is asked for."""

import sys
from pathlib import Path

import pytest
from recipes import recipe

from batch_fracture.errors import ConfigError
from training.storage import open_storage
from training.tracking import VARIABLE, open_tracker


def test_nothing_is_tracked_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with open_tracker(open_storage(str(tmp_path)), recipe()) as track:
        track({"epoch": 1, "loss": 0.5})


def test_mlflow_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setitem(sys.modules, "mlflow", None)
    refusal = (
        r"MLFLOW_TRACKING_URI is set, but mlflow is not installed; pip install 'batch-fracture\[mlflow\]'"
    )
    with (
        pytest.raises(ConfigError, match=refusal),
        open_tracker(open_storage(str(tmp_path)), recipe()),
    ):
        pass


def test_a_store_that_mlflow_refuses_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv(VARIABLE, "nowhere://x")
    mlflow.set_tracking_uri("nowhere://x")
    with (
        pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI = nowhere://x: "),
        open_tracker(open_storage(str(tmp_path)), recipe()),
    ):
        pass


def test_a_resumed_training_goes_on_in_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mlruns"))
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database needs more than mlflow-skinny
    mlflow.set_tracking_uri(str(tmp_path / "mlruns"))
    folder = open_storage(str(tmp_path)).child("run")
    for epochs in ((1, 2), (2, 3)):
        with open_tracker(folder, recipe(head="evidence")) as track:
            for epoch in epochs:
                track({"epoch": epoch, "loss": 1.0 / epoch})
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("batch-fracture")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["head"] == "evidence"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert {metric.step: metric.value for metric in history} == {1: 1.0, 2: 0.5, 3: 1 / 3}
