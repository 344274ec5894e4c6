"""MLflow, where MLFLOW_TRACKING_URI names a server or a folder; without it, only the file of metrics."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from batch_fracture.errors import ConfigError
from training.config import TrainingConfig
from training.storage import Folder

VARIABLE = "MLFLOW_TRACKING_URI"
EXPERIMENT = "batch-fracture"
_TAG = "batch_fracture.storage"
_NO_METRICS = ("epoch",)


@contextmanager
def open_tracker(folder: Folder, config: TrainingConfig) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """What takes each epoch's metrics; a resumed training goes on in the run it began.

    Args:
        folder: of the training; its URI is how the run is found again.
        config: becomes the run's parameters.

    Raises:
        ConfigError: the variable is set, but MLflow is not installed, or does not take it.
    """
    if not os.environ.get(VARIABLE):
        yield lambda _metrics: None
        return
    try:
        import mlflow  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            f"{VARIABLE} is set, but mlflow is not installed; pip install 'batch-fracture[mlflow]'"
        ) from error
    try:
        experiment = mlflow.set_experiment(EXPERIMENT)
        found = mlflow.MlflowClient().search_runs(
            [experiment.experiment_id], filter_string=f"tags.`{_TAG}` = '{folder.uri}'", max_results=1
        )
        run = mlflow.start_run(run_id=found[0].info.run_id if found else None, run_name=config.name)
        if not found:
            mlflow.set_tag(_TAG, folder.uri)
            mlflow.log_params({key: value for key, value in asdict(config).items() if key != "source"})
    except mlflow.MlflowException as error:
        raise ConfigError(f"{VARIABLE} = {os.environ[VARIABLE]}: {_first_line(error)}") from error

    def track(metrics: Mapping[str, Any]) -> None:
        values = {key: float(value) for key, value in metrics.items() if key not in _NO_METRICS}
        try:
            mlflow.log_metrics(values, step=int(metrics["epoch"]))
        except mlflow.MlflowException as error:  # the file of metrics has them; training goes on
            print(f"MLflow did not take epoch {metrics['epoch']}: {_first_line(error)}")

    with run:
        yield track


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
