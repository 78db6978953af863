"""The declaration of one system as frozen, strict models: what `system.yaml` may say beside its sources.

Belongs here: the fields, their types and their meaning (each description reaches the published JSON Schema).
Does not belong here: reading files (`load.py`), checks that need two fields or other files (`check.py`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PrivateAttr
from pydantic.json_schema import GenerateJsonSchema

from forecastle.contract.column import Column, Declared, Feature
from forecastle.contract.gates import Gates
from forecastle.contract.matrix import NOT_OF_AN_ESTIMATOR, Matrix, Segment, group_names
from forecastle.contract.profit import Profit
from forecastle.contract.report import Report
from forecastle.contract.source import Freshness, Source
from forecastle.contract.tuning import EarlyStopping, Param, Search
from forecastle.contract.types import (
    Cron,
    Day,
    Duration,
    EstimatorPath,
    FunctionPath,
    Name,
    Owner,
    PositiveDuration,
    SqlFile,
    format_duration,
)


class Entity(Declared):
    """What a prediction is about; its key columns name it."""

    keys: dict[Name, Literal["int64", "string"]] = Field(min_length=1)
    description: str = ""


class Partition(Declared):
    """A view that is made day by day: what a day's rows say depends on source rows of that day and a while before."""

    daily_since: Day = Field(description="First UTC day of event_at that has rows, such as 2026-01-01.")
    lookback: Duration = Field(timedelta(0), description="How far before its day the SQL reads source rows.")


class FeatureView(Declared):
    """SQL over sources that gives entity keys, event_at, known_at and features."""

    entity: Name
    sql: SqlFile
    params: dict[Name, Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0)] | Name] = Field(
        default_factory=dict,
        description="Literals for the {{name}} in the SQL file: a number that is not negative, or a name. Views may "
        "share a file.",
    )
    ttl: PositiveDuration = Field(
        description="A row older than this is no longer a feature: in joins, online and checks."
    )
    online: bool = True
    stream: Name | None = Field(None, description="The source of kind stream whose events renew online rows at once.")
    partition: Partition | None = Field(None, description="Rows of one UTC day can be made again by themselves.")
    reduced: bool = Field(
        False,
        description="Keep a sorted copy of the rows that can win a join: repeated joins of large views are faster.",
    )
    freshness: Freshness | None = None
    description: str = ""
    features: dict[Name, Feature] = Field(min_length=1)


class OnDemand(Declared):
    """Features computed from other features by one NumPy function, the same offline and online."""

    function: FunctionPath
    inputs: list[Name] = Field(min_length=1)
    description: str = ""
    features: dict[Name, Feature] = Field(min_length=1)


class Label(Declared):
    """SQL that gives entity keys, predict_at, outcome and the outcome's known_at."""

    sql: SqlFile
    matures: PositiveDuration = Field(description="After this long an outcome that is still unknown counts as overdue.")
    columns: dict[Name, Column] = Field(default_factory=dict, description="Further columns, for slices.")
    description: str = ""


class Score(Declared):
    """When the population is scored by the version that is live."""

    cron: Cron = Field(description="Five cron fields in UTC: minute, hour, day, month, weekday.")


class Model(Declared):
    """An estimator with the scikit-learn interface and its calibrator, trained on one feature set."""

    estimator: EstimatorPath = Field(
        "",
        description="Import path of a class with the scikit-learn interface, or module:function of the folder that "
        "returns one; a matrix of estimators stands in its place.",
    )
    params: dict[str, Param] = Field(default_factory=dict)
    features: list[Name] | None = Field(
        None, min_length=1, description="Feature set, in order; all features when absent."
    )
    calibrate: Literal["auto", "identity", "temperature", "platt", "beta", "isotonic", "venn_abers"] = "auto"
    start_from: Name | None = Field(
        None,
        description="A probability among the features whose log-odds the trees start from: they learn only what it "
        "does not know.",
    )
    rounds: Literal["declared", "cross_validated"] = Field(
        "declared",
        description="cross_validated: of up to n_estimators rounds, as many as give the lowest log loss on held-out "
        "folds.",
    )
    preprocess: Literal["none", "impute", "standard"] = Field(
        "none",
        description="impute: the median in place of null, and a column that says where; standard: that, then mean 0 "
        "and standard deviation 1.",
    )
    one_hot: list[Name] = Field(
        default_factory=list, description="int64 features with allowed values: a column of 0 and 1 for each value seen."
    )
    class_weight: Literal["balanced"] | dict[Literal["0", "1"], PositiveFloat] | None = Field(
        None, description="Weight of the rows of each outcome; the calibrator, fitted afterwards, undoes the shift."
    )
    early_stopping: EarlyStopping | None = None
    search: Search | None = None
    trust: Literal["pickle"] | None = Field(
        None, description="pickle: where no safer format holds the model, it is pickled; who loads it must agree."
    )
    seed: int = 0
    description: str = ""
    matrix: Matrix | None = Field(None, description="Segments, estimators and feature sets: one model for each.")
    score: Score | None = Field(None, description="When this model scores once it is live; as the system says if not.")
    _group: str | None = PrivateAttr(None)
    _segment: Segment | None = PrivateAttr(None)

    @property
    def group(self) -> str | None:
        """The declared name of the matrix that this model is one of; None where it was declared itself."""
        return self._group

    @property
    def segment(self) -> Segment | None:
        """The rows that it is trained on and answers; None for all rows."""
        return self._segment

    def of_group(self, group: str, segment: Segment | None) -> Model:
        """This model as one of a matrix."""
        found = self.model_copy()
        found._group, found._segment = group, segment  # noqa: SLF001  a copy of its own kind
        return found


class WalkForward(Declared):
    """The test part in several blocks of time, each answered by a model that knew only what was known before it."""

    folds: int = Field(ge=2, le=50, description="Blocks of equal numbers of rows; the last one's model is kept.")


class Split(Declared):
    """Time split: train on the oldest rows, folds of them calibrate, test on the newest."""

    test: float = Field(0.25, gt=0, lt=1, description="Share of the newest rows kept for the test.")
    folds: int = Field(
        5,
        ge=2,
        le=20,
        description="Parts of the training rows, whole clusters each, for calibrating and choosing rounds on rows a "
        "model did not see.",
    )
    embargo: Duration = Field(description="Gap between the newest label known in training and the first test row.")
    walk_forward: WalkForward | None = Field(None, description="Test in several blocks, one after the other.")
    group: Name | None = Field(
        None,
        description="entity, or a column: a training row whose group is asked again in the test part is left out.",
    )


class Evaluate(Declared):
    """How a model is judged before it may serve."""

    split: Split
    baseline: Name = Field(description="The feature that is itself a probability and must be beaten or matched.")
    slices: list[Name] = Field(default_factory=list)
    cluster: Name | None = Field(None, description="Column whose rows are resampled together; the entity by default.")
    block: PositiveDuration | None = Field(
        None,
        description="Clusters asked within about this long are resampled together as well; by default runs of the cube "
        "root of their number.",
    )


class Backtest(Declared):
    """How past forecasts are made again: at each cut by a model that knew only what was known then."""

    model: Name | None = Field(
        None, description="The model that is trained at each cut; the first declared one when absent."
    )
    every: PositiveDuration = Field(timedelta(weeks=4), description="Time from one cut to the next.")
    history: PositiveDuration | None = Field(
        None, description="Only cuts of this newest part of the history; all of it when absent."
    )


class Promote(Declared):
    """What asks to become champion, of all the models that were trained."""

    choose: Literal["best", "ensemble"] = Field(
        "best",
        description="best: the model of lowest held-out log loss, of each segment; ensemble: the mean of the `top` "
        "ones.",
    )
    top: int = Field(3, ge=2, le=20, description="Members of an ensemble, of each segment, at most.")
    approval: Literal["automatic", "manual"] = Field(
        "automatic", description="manual: a bundle that passes its gates waits until a named person approves it."
    )
    approvers: list[str] = Field(default_factory=list, description="Who may approve; anybody with a name when empty.")
    expires: PositiveDuration = Field(timedelta(days=7), description="After this long an approval comes too late.")


class Drift(Declared):
    """When a difference from training is worth waking somebody."""

    psi_tolerance: float = Field(0.1, gt=0, description="Population stability index nobody would act on.")
    null_rate_tolerance: float = Field(0.02, gt=0, lt=1, description="Change in the share of nulls, absolute.")
    tail_rate_tolerance: float = Field(0.005, gt=0, lt=1, description="Change in the share beyond the extremes.")
    alpha: float = Field(
        0.01, gt=0, lt=1, description="False alarms allowed over all tests of all daily looks at one window."
    )
    window: PositiveDuration = Field(description="The newest rows compared with the training reference.")

    @property
    def alpha_of_look(self) -> float:
        """False alarms allowed at one daily look: a row is looked at on every day of its window (union bound)."""
        return self.alpha / max(1, self.window.days)


class Retrain(Declared):
    """When a new model is trained without being asked."""

    schedule: Cron = Field(
        description="When to look whether a new model is due, at the latest. Five cron fields in UTC: minute, hour, "
        "day, month, weekday."
    )
    max_age: PositiveDuration = Field(description="A model older than this is due.")
    new_labels_min: int = Field(
        100, ge=1, description="With fewer labels known since training a new model would be the old one."
    )
    new_labels_due: int | None = Field(
        None, ge=1, description="So many labels since training are reason enough; never when absent."
    )
    degradation_margin: float = Field(
        0.01, ge=0, le=1, description="Live Brier may exceed that of the test rows by at most this."
    )
    drifted_features_max: int = Field(0, ge=0, description="More features than this beyond their tolerance are due.")
    max_per_day: int = Field(4, ge=1, description="Retrainings that decisions may start on one UTC day.")


class Retention(Declared):
    """Which table versions stay: the newest ones, and every one that is young enough."""

    keep: int = Field(5, ge=1, description="Newest versions of each table that always stay.")
    older_than: PositiveDuration = Field(timedelta(days=30), description="Versions younger than this stay as well.")


class Decide(Declared):
    """The rule that turns a probability into an action: a pure function of the system's folder."""

    function: FunctionPath = Field(description="module:function; it is given probability, inputs and params by name.")
    inputs: list[Name] = Field(
        default_factory=list, description="Features the rule reads; predict_at is the moment of the prediction."
    )
    params: dict[Name, bool | int | float | str] = Field(default_factory=dict)
    profit: Profit | None = Field(None, description="What the decisions earn, for backtests.")


class Phase(Declared):
    """One phase of a canary: the challenger's share of the entities, and what must hold before it goes on."""

    share: float = Field(gt=0, lt=1, description="Share of the entities that the challenger answers.")
    gates: list[Literal["predictive", "fairness"]] = Field(min_length=1)
    rows_min: int = Field(500, ge=1, description="Challenger answers with a known outcome before a decision.")


class Canary(Declared):
    """Phases in order; later ones may ask for more traffic and more gates."""

    phases: list[Phase] = Field(
        default_factory=lambda: [
            Phase(share=0.05, gates=["predictive"]),
            Phase(share=0.2, gates=["predictive", "fairness"], rows_min=2_000),
        ],
        min_length=1,
    )
    margin: float = Field(0.002, ge=0, description="Brier may exceed the champion's by at most this.")


class Rollout(Declared):
    """How a bundle under trial meets traffic."""

    challenger_share: float = Field(0.05, gt=0, lt=1, description="Share of the entities at the start of a trial.")
    salt: str = Field("rollout", min_length=1, pattern=r"^[^|]+$", description="Another salt is another split.")
    shadow: bool = Field(False, description="The challenger answers nobody; what it would say is logged.")
    canary: Canary = Canary()
    metric: Name | None = Field(
        None, description="Numeric label column that an experiment compares beside the Brier score, such as revenue."
    )


class System(Declared):
    """One prediction problem."""

    system: Name
    description: str = Field(min_length=1)
    owner: Owner = Field(description="An address or team:NAME.")
    entity: dict[Name, Entity] = Field(min_length=1)
    sources: dict[Name, Source] = Field(min_length=1)
    feature_views: dict[Name, FeatureView] = Field(min_length=1)
    on_demand: dict[Name, OnDemand] = Field(default_factory=dict)
    label: Label
    models: dict[Name, Model] = Field(min_length=1)
    evaluate: Evaluate
    backtest: Backtest = Backtest()
    gates: Gates
    promote: Promote = Promote()
    drift: Drift
    retrain: Retrain
    score: Score | None = Field(None, description="When the live version scores the whole population.")
    daily_since: Day = Field(
        "2025-01-01", description="First UTC day with a partition of batch_predictions and the live assets."
    )
    retention: Retention = Retention()
    decide: Decide | None = Field(None, description="The decision rule of every answer.")
    rollout: Rollout = Rollout()
    reports: dict[Name, Report] = Field(default_factory=dict, description="Reports of the system's own.")
    simulate: FunctionPath | None = Field(None, description="Function that writes a seeded world of source files.")

    def features(self) -> dict[str, Feature]:
        """Every feature of the system by name: views in order, then on-demand."""
        groups = [v.features for v in self.feature_views.values()] + [g.features for g in self.on_demand.values()]
        return {name: feature for group in groups for name, feature in group.items()}

    def view_of(self, feature: str) -> str | None:
        """The feature view that holds a feature; None for an on-demand feature."""
        return next((name for name, view in self.feature_views.items() if feature in view.features), None)

    def entity_of_label(self) -> Entity:
        """The one entity that predictions of this system are about (the first declared)."""
        return next(iter(self.entity.values()))

    def model_features(self, model: str) -> list[str]:
        """Feature names of a model, in the order its estimator sees them."""
        return list(self.models[model].features or self.features())

    def model_groups(self) -> dict[str, tuple[str, ...]]:
        """Names of the concrete models of each declared matrix."""
        return group_names(self.models)

    def scoring_cron(self, model: str) -> str | None:
        """When a live version of a model scores the population: as the model says, else as the system says."""
        score = (self.models[model].score if model in self.models else None) or self.score
        return None if score is None else score.cron

    def backtested_model(self) -> str:
        """The model that a backtest trains: the one it names, else the first declared."""
        return self.backtest.model or next(iter(self.models))


def json_schema() -> dict[str, Any]:
    """JSON Schema of `system.yaml`, for editors: `docs/system.schema.json`, written by `schema.py`."""
    schema = System.model_json_schema(schema_generator=_Schema)
    own, of_model = schema["$defs"]["MatrixEstimator"], schema["$defs"]["Model"]["properties"]
    own["properties"] = {n: p for n, p in of_model.items() if n not in NOT_OF_AN_ESTIMATOR} | own["properties"]
    own["additionalProperties"] = False
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Forecastle system.yaml",
    }


class _Schema(GenerateJsonSchema):
    """Writes a default duration as a declaration writes it, not as ISO 8601."""

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)
