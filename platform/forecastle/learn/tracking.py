"""MLflow as the catalogue: one run a model, with params, metrics, data set, model, bundle and tags.

Belongs here: every call of MLflow.
Does not belong here: loading models for serving (`bundle.py` does, by hash), deciding (`gates.py`).
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from forecastle.contract.errors import LearnError
from forecastle.contract.feature_set import FeatureSet
from forecastle.learn.alive import alive, dead, forget

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

    from forecastle.learn.search import SearchResult

ALIAS = "champion"
BUNDLE = "bundle"
ALIVE = "alive"
"""The tag of a run that says which lock its process holds for as long as the run lasts."""

# The tag whose text MLflow shows as a run's description: https://mlflow.org/docs/latest/ml/tracking/tracking-api/
DESCRIPTION = "mlflow.note.content"


@dataclass(frozen=True)
class Run:
    """One MLflow run that is being written."""

    run_id: str


class Tracking:
    """MLflow on one SQLite file and one folder of artifacts below `folder`; no server is needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def uri(self) -> str:
        """Tracking and registry URI."""
        return f"sqlite:///{self._folder / 'mlflow.db'}"

    @contextmanager
    def run(self, system: str, *, name: str, tags: Mapping[str, str]) -> Iterator[Run]:
        """Open a run of the system's experiment; it ends FINISHED, or FAILED when the body raises.

        Runs of processes that were killed meanwhile are ended first.
        """
        mlflow = self._mlflow()
        artifacts = (self._folder / "artifacts" / system).absolute().as_uri()
        with _unless_there():
            mlflow.create_experiment(system, artifact_location=artifacts)
        mlflow.set_experiment(system)
        self.end_killed_runs()
        with (
            alive(self._folder / "running") as token,
            mlflow.start_run(run_name=name, tags={**tags, ALIVE: token}) as run,
        ):
            yield Run(run.info.run_id)

    def end_killed_runs(self) -> list[str]:
        """End each run as KILLED that says RUNNING though its process is gone; returns their ids."""
        ended = []
        for token in dead(self._folder / "running"):
            client = self._client()
            experiments = [experiment.experiment_id for experiment in client.search_experiments()]
            wanted = f"tags.{ALIVE} = '{token}' AND attributes.status = 'RUNNING'"
            for run in client.search_runs(experiments, wanted):
                client.set_tag(run.info.run_id, DESCRIPTION, "The process that made this run was killed.")
                client.set_terminated(run.info.run_id, "KILLED")
                ended.append(run.info.run_id)
            forget(self._folder / "running", token)
        return ended

    def log_training(
        self,
        frame: pd.DataFrame,
        *,
        name: str,
        digest: str,
        source: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float | None],
    ) -> None:
        """Log the training set as a data set input, the parameters and every finite metric."""
        mlflow = self._mlflow()
        from mlflow.data.sources import LocalArtifactDatasetSource
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
        from mlflow.utils.time import get_current_time_millis

        # Named by its class, for MLflow finds two classes that fit the text. The types are known: inferring them
        # would read every value of every model's rows.
        told = LocalArtifactDatasetSource(source)
        dataset = Dataset(
            name=name,
            digest=digest[:36],
            source_type=told._get_source_type(),  # noqa: SLF001  what `from_pandas` does; there is no public name
            source=told.to_json(),
            schema=json.dumps({"mlflow_colspec": _columns(frame)}),
            profile=json.dumps({"num_rows": len(frame), "num_elements": int(frame.size)}),
        )
        run_id, client = mlflow.active_run().info.run_id, self._client()
        client.log_inputs(run_id, [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])])
        finite = {k: float(v) for k, v in metrics.items() if v is not None and math.isfinite(v)}
        now = get_current_time_millis()
        client.log_batch(
            run_id,
            metrics=[Metric(key, value, now, 0) for key, value in finite.items()],
            params=[Param(key, str(value)) for key, value in params.items()],
        )

    def log_model(self, feature_set: FeatureSet, *, booster: str | None) -> str:
        """Tell MLflow how to open the bundle that will lie beside this, and return where: the version's source.

        Args:
            feature_set: what the model is asked with; it becomes the signature.
            booster: the file in the bundle that LightGBM can open by itself, if there is one.
        """
        mlflow = self._mlflow()
        from mlflow.models import Model

        run = mlflow.active_run().info
        told = Model(run_id=run.run_id, signature=_signature(feature_set))
        told.add_flavor(
            "python_function",
            loader_module="forecastle.learn.mlflow_model",
            data=BUNDLE,
            python_version=platform.python_version(),
        )
        if booster is not None:
            told.add_flavor("lightgbm", data=f"{BUNDLE}/{booster}", model_class="lightgbm.basic.Booster")
        mlflow.log_text(told.to_yaml(), "MLmodel")
        return str(run.artifact_uri)

    def log_search(self, search: SearchResult) -> None:
        """Log every trial as a table and as a picture, below `search`."""
        from forecastle.draw.images import svg_text
        from forecastle.draw.search import trials_diagram

        mlflow, table = self._mlflow(), search.table()
        mlflow.log_text(table.to_csv(index=False), "search/trials.csv")
        mlflow.log_text(svg_text(trials_diagram(table)), "search/trials.svg")
        mlflow.log_metric("search.log_loss", search.log_loss)

    def log_files(self, folder: Path, *, under: str) -> None:
        """Log every file of a folder."""
        self._mlflow().log_artifacts(str(folder), artifact_path=under)

    def log_report(self, run_id: str, folder: Path) -> None:
        """Add a report's files to a run that has ended already."""
        self._client().log_artifacts(run_id, str(folder), folder.name)

    def register(self, system: str, *, run_id: str, model_uri: str, tags: Mapping[str, str]) -> str:
        """Register the logged model under the system's name and return its version."""
        client = self._client()
        with _unless_there():
            client.create_registered_model(system)
        version = client.create_model_version(system, source=model_uri, run_id=run_id, tags=dict(tags))
        return str(version.version)

    def next_version(self, system: str) -> str:
        """The version that `register` gives next, if nobody registers meanwhile and the newest was not deleted."""
        found = self._client().search_model_versions(
            f"name='{system}'", max_results=1, order_by=["version_number DESC"]
        )
        return str(int(found[0].version) + 1 if found else 1)

    def withdraw(self, system: str, *, version: str) -> None:
        """Take a version back that was registered for a build that failed afterwards."""
        self._client().delete_model_version(system, version)

    def require_version(self, system: str, *, version: str) -> None:
        """Nothing happens when MLflow answers and knows the version.

        Raises:
            LearnError: it does not answer, or knows no such version.
        """
        from mlflow.exceptions import MlflowException

        try:
            self._client().get_model_version(system, version)
        except MlflowException as error:
            raise LearnError(f"MLflow has no version {version} of {system}: {error}; train again") from error

    def archive(self, system: str, *, version: str, archived_at: str) -> None:
        """Record when a version was replaced; "" where it is live again. A version that was deleted is passed over."""
        from mlflow.exceptions import MlflowException

        client = self._client()
        try:
            client.set_model_version_tag(system, version, "state", "archived" if archived_at else "live")
            client.set_model_version_tag(system, version, "archived_at", archived_at)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise

    def alias(self, system: str, *, version: str) -> None:
        """Point the alias `champion` at a version."""
        self._client().set_registered_model_alias(system, ALIAS, version)

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Add tags to a run."""
        client = self._client()
        for key, value in tags.items():
            client.set_tag(run_id, key, value)

    def log_decision(self, run_id: str, *, promote: bool, evidence: Sequence[Mapping[str, Any]], reason: str) -> None:
        """Add what the gates say to a run that has ended: `decision.json`, and tags to search by.

        It tells what they say of this model by itself. Whether it became champion stands in the registry.
        """
        told = {"promote": promote, "gates": [dict(gate) for gate in evidence]}
        self._client().log_dict(run_id, told, "decision.json")
        self.tag(run_id, {"gates": "passed" if promote else "refused", "gates.reason": reason})

    def describe(self, run_id: str) -> dict[str, Any]:
        """Name, status, tags, metrics and data sets of a run, for `forecastle trace`."""
        run = self._client().get_run(run_id)
        return {
            "run_id": run_id,
            "name": run.info.run_name,
            "status": run.info.status,
            "tags": {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")},
            "metrics": dict(run.data.metrics),
            "datasets": [{"name": i.dataset.name, "digest": i.dataset.digest} for i in run.inputs.dataset_inputs],
        }

    def _client(self) -> MlflowClient:
        mlflow = self._mlflow()
        client: MlflowClient = mlflow.MlflowClient(self.uri, self.uri)
        return client

    def _mlflow(self) -> Any:
        # Imported late: it costs two seconds, and definitions load without it.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        import mlflow
        import mlflow.lightgbm

        if mlflow.get_tracking_uri() != self.uri:
            mlflow.set_tracking_uri(self.uri)
            mlflow.set_registry_uri(self.uri)
        return mlflow


def _columns(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Columns of a data set as MLflow tells them."""
    kinds = {name: "double" if is_numeric_dtype(kind) else "string" for name, kind in frame.dtypes.items()}
    return [{"type": kind, "name": name, "required": False} for name, kind in kinds.items()]


def _signature(feature_set: FeatureSet) -> ModelSignature:
    """Features of views by name and kind, and what comes back."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    kinds = {"float64": "double", "int64": "long", "bool": "boolean", "string": "string"}
    asked = []
    for spec in feature_set.features:
        if spec.view is not None:
            contract = spec.contract
            # pandas holds whole numbers beside a null as floats, and MLflow would take either those or integers.
            either = contract.nullable and contract.dtype in {"int64", "bool"}
            asked.append(ColSpec(AnyType() if either else kinds[contract.dtype], spec.name, not contract.nullable))
    return ModelSignature(Schema(asked), Schema([ColSpec("double", name) for name in ("probability", "raw_score")]))


@contextmanager
def _unless_there() -> Iterator[None]:
    """Whoever creates a thing second finds it there, which is just as good; other refusals pass through."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
