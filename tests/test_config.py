"""Configuration files: what they mean, and what is said when they are wrong."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from exporter.catalog import DRIFT_METHODS, PERFORMANCE_METRICS
from exporter.config import Config, ModelConfig, load_config, name_problem, parse_config
from exporter.config.model import default_resolution, parse_window
from exporter.durations import format_duration, parse_duration
from exporter.errors import ConfigurationError
from exporter.results import Window
from exporter.schema import Column, Kind, Role, ScoreKind, Task
from exporter.settings import Settings, problems_of
from exporter.yamlfile import expand_environment, path_text, read_mapping

CONTRACT_EXAMPLE = """
defaults: {drift_threshold: 0.05, alert_threshold: 0.1}
models:
  flight_delay:
    task: binary                      # binary | multiclass | regression | ranking
    columns: {id: flight_id, timestamp: scheduled, prediction: predicted, score: probability, label: delayed}
    positive_label: true
    features: {distance: numeric, carrier: categorical, booked: datetime, refundable: boolean,
               embedding: {type: embedding, size: 384}}
    score_kind: probability           # or margin
    metrics: [accuracy, precision, recall, f1, roc_auc, mypackage.metrics:profit]
    windows: [1d, 7d]                 # sliding, by event time, ending at the newest event seen
    resolution: 1h                    # bucket width; default a 24th of the smallest window
    evaluation_interval: 2s           # at most this often, soon after new rows; results of all windows
    segments: [origin]
    drift_threshold: 0.05             # false-alarm rate (p-value) of the drift verdict
    alert_threshold: 0.1              # performance drop that alerts
    drift: {methods: auto, correction: bh, minimum_effect: auto, minimum_rows: 100}
    lateness: 2d                      # rows older than watermark - lateness are dropped and counted
    future_tolerance: 5m              # rows later than the wall clock by more are rejected
    label_horizon: 30d                # how long a prediction waits for its label (default)
    min_label_coverage: auto          # which bucket is the label watermark (below)
    stale_after: 3d                   # without arrivals this long the windowed series go
    max_series: 5000                  # budget; max_versions: 4; bins: {features: 20}; classes: 20
    baseline: {source: first_rows, rows: 10000, refresh: {every: 30d, only_if: healthy}}
    quality:
      timeliness: 1h
      validation_rules: {distance: {min: 0, max: 6000, not_null: true}, carrier: {allowed: [AA, UA]},
                         tail: {regex: "^N"}}
      consistency_rules: {arrives_after_departure: "arrived >= departed"}     # a SQL boolean expression
    champion: v1
    comparison: {since: 2026-01-01, metrics: [accuracy]}
"""


def model(**settings) -> ModelConfig:
    return parse_config({"models": {"m": {"task": "binary", **settings}}}, {}).models["m"]


def problems(mapping, environment=None) -> dict[str, str]:
    """Return the problems of a configuration by path."""
    with pytest.raises(ConfigurationError) as caught:
        parse_config(mapping, environment or {})
    return dict(caught.value.problems)


def model_problems(**settings) -> dict[str, str]:
    """Return the problems of one model, by path below it."""
    found = problems({"models": {"m": {"task": "binary", **settings}}})
    return {path.removeprefix("models.m").removeprefix("."): text for path, text in found.items()}


@pytest.fixture
def contract_file(tmp_path):
    path = tmp_path / "models.yml"
    path.write_text(CONTRACT_EXAMPLE, encoding="utf-8")
    return path


def test_example_of_the_contract_loads_as_it_stands(contract_file):
    """Every setting of the documented example is read with its meaning."""
    settings = load_config(contract_file).models["flight_delay"]
    assert settings.windows == (Window("1d", 86400.0), Window("7d", 604800.0))
    assert settings.resolution == 3600
    assert settings.lateness == 2 * 86400
    assert settings.evaluation_interval == 2
    assert settings.future_tolerance == 300
    assert settings.stale_after == 3 * 86400
    assert settings.idempotency_retention == 2 * 86400
    assert settings.baseline.refresh is not None
    assert settings.baseline.refresh.every == 30 * 86400
    assert settings.quality.validation_rules["distance"].checks() == {"min": 0, "max": 6000, "not_null": True}
    assert settings.quality.validation_rules["carrier"].checks() == {"allowed": ("AA", "UA")}
    assert settings.comparison.since == datetime(2026, 1, 1, tzinfo=UTC)
    assert [(m.name, m.function) for m in settings.custom_metrics] == [("profit", "mypackage.metrics:profit")]
    assert settings.metric_names == ("accuracy", "precision", "recall", "f1", "roc_auc")


def test_schema_has_the_columns_and_their_roles(contract_file):
    """A model's configuration gives its schema; rule columns beside the features are carried along."""
    schema = load_config(contract_file).models["flight_delay"].schema("flight_delay")
    assert (schema.model, schema.task, schema.id, schema.timestamp) == (
        "flight_delay",
        Task.BINARY,
        "flight_id",
        "scheduled",
    )
    assert (schema.prediction, schema.score, schema.label) == ("predicted", "probability", "delayed")
    assert schema.score_kind is ScoreKind.PROBABILITY
    assert schema.features is not None
    assert schema.features[0] == Column("distance", Kind.NUMERIC)
    assert schema.features[-1] == Column("embedding", Kind.EMBEDDING, Role.EMBEDDING, 384)
    assert schema.segments == ("origin",)
    assert schema.extra_columns == ("tail",)


def test_multiclass_scores_map_classes_to_columns():
    """Classes that YAML reads as numbers or booleans become text as in the data."""
    settings = model(task="multiclass", columns={"score": {1: "p1", 2.0: "p2", "b": "pb", False: "pf"}})
    assert settings.schema("m").score == (("1", "p1"), ("2", "p2"), ("b", "pb"), ("false", "pf"))


def test_defaults_are_derived_from_the_windows():
    """Resolution, lateness, staleness and the retention of keys follow the windows."""
    settings = model(windows=["1h", "3h"])
    assert settings.resolution == 150
    assert settings.lateness == 3 * 3600
    assert settings.stale_after == 6 * 3600
    assert settings.idempotency_retention == 86400
    assert model(windows=["1h"], lateness="5d").idempotency_retention == 5 * 86400
    assert model().label_horizon == 30 * 86400
    assert model().metrics is None
    assert "roc_auc" not in model().metric_names
    assert "roc_auc" in model(columns={"score": "p"}).metric_names


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=4, unique=True))
def test_default_resolution_divides_every_window(seconds):
    """The derived bucket width is a whole number of seconds of which every window is a multiple."""
    resolution = default_resolution(tuple(Window(f"{value}s", float(value)) for value in seconds))
    assert resolution >= 1
    assert all(value % resolution == 0 for value in seconds)


def test_defaults_are_merged_into_each_model_deeply():
    """A model's own settings win, key by key."""
    config = parse_config(
        {
            "defaults": {"drift": {"minimum_rows": 7, "correction": "none"}, "windows": ["1h"]},
            "models": {"a": {"task": "binary", "drift": {"minimum_rows": 9}}, "b": {"task": "regression"}},
        }
    )
    a, b = config.models["a"], config.models["b"]
    assert (a.drift.minimum_rows, a.drift.correction) == (9, "none")
    assert (b.drift.minimum_rows, b.windows[0].name) == (7, "1h")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1h30m", 5400),
        ("1d", 86400),
        ("2w", 1209600),
        ("500ms", 0.5),
        ("0s", 0),
        (0, 0),
        ("0", 0),
    ],
)
def test_durations_are_read_as_prometheus_writes_them(text, seconds):
    """Units in falling order, and zero needs none."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "1", 5, 1.5, "1x", "30m1h", "-1s", "1 h", "1h1h", None, True, False, "1.5h"]
)
def test_other_durations_are_refused(text):
    """A number without a unit, signs, fractions and wrong order are errors."""
    with pytest.raises(ValueError, match="such as 90s"):
        parse_duration(text)


@given(st.integers(0, 10**12).map(lambda milliseconds: milliseconds / 1000))
def test_durations_round_trip(seconds):
    """What is written can be read again."""
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-4)


def test_windows_keep_their_text():
    """The exported label is what was configured."""
    assert parse_window("24h") == Window("24h", 86400.0)
    with pytest.raises(ValueError, match="whole number of seconds"):
        parse_window("1500ms")


def test_every_problem_is_reported_with_its_path():
    """One run shows all that is wrong, where it was written, with the nearest known name."""
    found = problems(
        {
            "modles": {},
            "defaults": {"windows": ["1d", "1y2"], "dirft": {}},
            "models": {
                "a": {"task": "binray"},
                "b c": {
                    "task": "regression",
                    "columns": {"predicton": "p", "score": "s"},
                    "metrics": ["rmse", "f1", "rsme"],
                    "windows": ["1h", "90m"],
                    "resolution": "1h",
                    "features": {"x": "nmeric", "e": {"type": "embedding"}},
                    "drift": {
                        "methods": ["ks", "kss"],
                        "minimum_effect": {"psi": -1},
                        "minimum_rows": "many",
                    },
                    "quality": {"validation_rules": {"x": {"mim": 0}}, "thresholds": {"completness": 0.5}},
                    "timezone": "Mars/Olympus",
                    "champion": "${CHAMPION}",
                },
            },
        }
    )
    assert "did you mean models?" in found["modles"]
    assert "did you mean drift?" in found["defaults.dirft"]
    assert "such as 90s" in found["defaults.windows[1]"]
    assert "binary" in found["models.a.task"]
    b = 'models["b c"]'
    assert "did you mean prediction?" in found[f"{b}.columns.predicton"]
    assert "did you mean rmse?" in found[f"{b}.metrics[2]"]
    assert "numeric" in found[f"{b}.features.x"]
    assert "needs a size" in found[f"{b}.features.e"]
    assert "did you mean ks?" in found[f"{b}.drift.methods[1]"]
    assert "greater than or equal to 0" in found[f"{b}.drift.minimum_effect.psi"]
    assert "integer" in found[f"{b}.drift.minimum_rows"]
    assert "did you mean min?" in found[f"{b}.quality.validation_rules.x.mim"]
    assert "did you mean completeness?" in found[f"{b}.quality.thresholds.completness"]
    assert "Europe/Paris" in found[f"{b}.timezone"]
    assert "CHAMPION is not set" in found[f"{b}.champion"]
    assert "90m is no whole number of buckets of 1h" in found[f"{b}.windows[1]"]
    assert len(found) == 16


@pytest.mark.parametrize(
    ("settings", "path", "message"),
    [
        ({"task": "regression", "metrics": ["f1"]}, "metrics[0]", "does not fit the task regression"),
        ({"metrics": ["roc_auc"]}, "metrics[0]", "needs a score"),
        ({"metrics": ["a.b:f1"]}, "metrics[0]", "another metric called f1"),
        ({"metrics": ["a:x", "b:x"]}, "metrics[1]", "another metric called x"),
        ({"metrics": ["a.b:"]}, "metrics[0]", "package.module:function"),
        ({"metrics": []}, "metrics", "at least 1"),
        ({"windows": []}, "windows", "at least 1"),
        ({"windows": ["1d", "24h"]}, "windows[1]", "as long as 1d"),
        ({"windows": ["1h"], "resolution": "7m"}, "windows[0]", "no whole number of buckets"),
        ({"windows": ["1000d"], "resolution": "1s"}, "windows[0]", "larger resolution"),
        ({"resolution": "500ms"}, "resolution", "whole number of seconds"),
        ({"resolution": "0s"}, "resolution", "greater than 0"),
        ({"idempotency_retention": "1h"}, "idempotency_retention", "at least 24h"),
        ({"task": "multiclass", "columns": {"score": "p"}}, "columns.score", "mapping of class"),
        ({"columns": {"score": {"a": "p"}}}, "columns.score", "one column"),
        ({"task": "regression", "columns": {"score": "p"}}, "columns.score", "no score"),
        ({"task": "ranking"}, "columns.group", "ranked together"),
        ({"ranking": {"k": 5}}, "ranking", "ranks nothing"),
        ({"columns": {"group": "g"}}, "columns.group", "no group"),
        ({"columns": {"id": "a", "label": "a"}}, "columns.label", "is the id already"),
        ({"features": {"label": "numeric"}}, "features.label", "another role"),
        ({"columns": {"id": "i"}, "segments": ["i"]}, "segments[0]", "makes no segments"),
        ({"segments": ["a", "a"]}, "segments[1]", "named twice"),
        ({"features": {"a": "datetime"}, "segments": ["a"]}, "segments[0]", "makes no segments"),
        ({"features": {"a": {"type": "numeric", "size": 3}}}, "features.a", "nothing else has one"),
        ({"quality": {"timeliness": "1h"}}, "quality.timeliness", "columns.timestamp"),
        ({"features": {"a": "numeric"}, "quality": {"validation_rules": {"a": {"regex": "x"}}}},
         "quality.validation_rules.a.regex", "does not fit a numeric column"),
        ({"features": {"a": "boolean"}, "quality": {"validation_rules": {"a": {"min": 1}}}},
         "quality.validation_rules.a.min", "does not fit a boolean column"),
        ({"quality": {"validation_rules": {"a": {}}}}, "quality.validation_rules.a", "at least one of"),
        ({"quality": {"validation_rules": {"a": {"min": 2, "max": 1}}}},
         "quality.validation_rules.a", "above max"),
        ({"drift_threshold": 0}, "drift_threshold", "greater than 0"),
        ({"drift_threshold": float("nan")}, "drift_threshold", "finite"),
        ({"min_label_coverage": "most"}, "min_label_coverage", "expected auto or a ratio"),
        ({"champion": "a\nb"}, "champion", "control characters"),
        ({"champion": "a", "comparison": {"since": "soon"}}, "comparison.since", "soon"),
        ({"champion": "a", "comparison": {"metrics": ["mae"]}}, "comparison.metrics[0]", "does not fit"),
        ({"drift": 3}, "drift", "expected a mapping"),
        ({"features": {"a": {"type": "embedding", "size": 4097}}}, "features.a.size", "less than or equal"),
        ({"baseline": {"refresh": {"window": "3d"}}}, "baseline.refresh.window", "no window '3d'"),
        ({"baseline": {"season": "hour"}}, "baseline.season", "need columns.timestamp"),
        ({"columns": {"timestamp": "t"}, "baseline": {"season": "hour"}},
         "baseline.season", "no window is shorter than a day"),
        ({"columns": {"timestamp": "t"}, "windows": ["7d"], "baseline": {"season": "weekday"}},
         "baseline.season", "no window is shorter than a week"),
        ({"drift": {"null": "blocks"}}, "drift.null", "need columns.timestamp"),
        ({"history": {"full_resolution": "500d"}}, "history.full_resolution", "longer than retention"),
        ({"history": {"retention": "1d"}}, "history.retention", "longer than retention"),
        ({"features": {"a": "numeric"}, "quality": {"column_weights": {"b": 2}}},
         "quality.column_weights.b", "no column 'b'"),
        ({"features": {"a": "numeric", "b": "boolean"}, "drift": {"multivariate": ["mmd"]}},
         "drift.multivariate", "two numeric features"),
        ({"comparison": {"split": "equal"}}, "comparison", "without a champion"),
        ({"drift": {"methods": []}}, "drift.methods", "at least 1"),
        ({"drift": {"methods": ["ks", "psi", "ks"]}}, "drift.methods[2]", "ks is named twice"),
        ({"drift": {"multivariate": ["mmd", "mmd"]}}, "drift.multivariate[1]", "mmd is named twice"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(settings, path, message):
    """Each setting may be right alone; together they are checked too."""
    found = model_problems(**settings)
    assert list(found) == [path]
    assert message in found[path]


def test_settings_that_something_acts_on_are_accepted():
    """One window with a season, weights of columns with a role or a rule, and columns that are inferred."""
    settings = model(
        columns={"timestamp": "t", "score": "p"},
        windows=["6h", "7d"],
        features={"a": "numeric", "b": "numeric"},
        baseline={"season": "hour", "refresh": {"window": "7d"}},
        drift={"null": "blocks", "multivariate": ["mmd"]},
        quality={"column_weights": {"a": 2, "p": 3, "c": 0}, "validation_rules": {"c": {"not_null": True}}},
        champion="a",
        comparison={"split": "equal"},
    )
    assert settings.quality.column_weights == {"a": 2, "p": 3, "c": 0}
    inferred = model(quality={"column_weights": {"z": 2}}, drift={"multivariate": ["mmd"]})
    assert inferred.quality.column_weights == {"z": 2}


def test_task_is_needed_and_models_too():
    """What has no default is asked for."""
    assert problems({"models": {"m": {}}}) == {"models.m.task": "this key is needed"}
    assert "at least one model" in problems({"models": {}})["models"]
    assert "at least one model" in problems({})["models"]
    assert problems({"models": {"m": None}}) == {"models.m": "expected a mapping of settings"}


@pytest.mark.parametrize("name", ["", "a\nb", "\x00", "x" * 201, "\udc80", 3, None])
def test_names_without_text_are_refused(name):
    """A name is text of up to 200 characters without control characters."""
    assert name_problem(name)


@pytest.mark.parametrize("name", ["m", "flight delay", 'quote "', "üñ 🛩️", "x" * 200, "a.b/c"])
def test_other_names_are_good(name):
    """Spaces, quotes, slashes and emoji may be in a name."""
    assert name_problem(name) is None
    assert name in parse_config({"models": {name: {"task": "binary"}}}).models


def test_metrics_and_methods_of_the_catalogue_are_accepted():
    """Every name that the catalogue has for a task can be listed."""
    for task in ("binary", "regression"):
        names = [name for name, metric in PERFORMANCE_METRICS.items() if task in metric.tasks]
        columns = {"score": "p"} if task == "binary" else {}
        assert model(task=task, metrics=names, columns=columns).metric_names == tuple(names)
    assert model(drift={"methods": list(DRIFT_METHODS)}).drift.methods == tuple(DRIFT_METHODS)


def test_environment_is_expanded_in_values_only():
    """`${NAME}` is replaced, a default is used where it is unset, and the result is never parsed as YAML."""
    value = {"a": ["${X}-${Y:-none}", "$${X}", "^a{2}$"], "${X}": 1}
    expanded, wrong = expand_environment(value, {"X": "x: [1]"})
    assert expanded == {"a": ["x: [1]-none", "${X}", "^a{2}$"], "${X}": 1}
    assert wrong == []
    assert (
        parse_config({"models": {"m": {"task": "${T}", "max_series": "${N}"}}}, {"T": "binary", "N": "77"})
        .models["m"]
        .max_series
        == 77
    )
    _, wrong = expand_environment({"a": {"b": ["${no-name}"]}}, {})
    assert wrong[0][0] == ("a", "b", 0)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("models: {a: 1, a: 2}", "line 1"),
        ("models:\n  a: {task: binary}\n  b: {task: binary, task: regression}\n", "line 3"),
        ("models: [", "line 1, column 10"),
        ("- a", ""),
        ("", ""),
        ("a: !!python/object:os.system {}", "line 1, column 4"),
        ("a: \x07", ""),
    ],
)
def test_unreadable_yaml_is_one_sentence(text, path):
    """Broken YAML, duplicate keys and unsafe tags are refused with their place."""
    with pytest.raises(ConfigurationError) as caught:
        read_mapping(text)
    assert caught.value.problems[0][0] == path
    assert "\n" not in caught.value.message


def test_yaml_scalars_are_what_they_look_like():
    """`NO` is a country, not a boolean; `12:30` is text; numbers and dates are what they are."""
    found = read_mapping(
        "{a: [NO, on, y, true, False, 12:30, 1e3, 0x10, 010, 1_000, -2.5, .inf, ~], b: 2026-01-01}"
    )
    assert found["a"] == [
        "NO",
        "on",
        "y",
        True,
        False,
        "12:30",
        1000.0,
        16,
        "010",
        "1_000",
        -2.5,
        float("inf"),
        None,
    ]
    assert found["b"].year == 2026


def test_a_key_null_is_a_word():
    """`null:` names a setting, as in `drift: {null: blocks}`; as a value it is still nothing."""
    assert read_mapping("drift: {null: blocks}\nrest: null") == {"drift": {"null": "blocks"}, "rest": None}
    timed = {"columns": {"timestamp": "at"}}
    assert model(**timed, **read_mapping("drift: {null: blocks}")).drift.null == "blocks"
    assert model().drift.null == "independent"
    with pytest.raises(ConfigurationError, match="before"):
        read_mapping("{null: 1, 'null': 2}")


def test_yaml_merge_keys_are_no_duplicates():
    """Anchors and `<<` work, and a key may override what was merged."""
    found = read_mapping("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n")
    assert found["b"] == {"x": 3, "y": 2}


def test_files_that_cannot_be_read_are_configuration_errors(tmp_path):
    """A missing file, a directory and other encodings are said in one sentence."""
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_config(tmp_path / "no.yml")
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_config(tmp_path)
    bad = tmp_path / "bad.yml"
    bad.write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_config(bad)


def test_paths_can_be_pasted():
    """A path quotes keys that are no plain words."""
    assert path_text(("models", 'a "b"', "windows", 1)) == 'models["a \\"b\\""].windows[1]'


def test_secrets_come_from_files(tmp_path):
    """Each secret `x` may be given as `x_file`, but not both ways; its value is never printed."""

    class Channel(Settings):
        token: SecretStr

    source = tmp_path / "token"
    source.write_text("s3cret\n", encoding="utf-8")
    channel = Channel.model_validate({"token_file": str(source)})
    assert channel.token.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(channel)
    for wrong, message in (
        ({"token": "a", "token_file": str(source)}, "not both"),
        ({"token_file": str(tmp_path / "no")}, "cannot read"),
        ({"tokne": "a"}, "did you mean token?"),
    ):
        with pytest.raises(ValueError, match="validation error") as caught:
            Channel.model_validate(wrong)
        assert any(message in text for _, text in problems_of(caught.value, Channel, wrong))


def test_configuration_is_frozen():
    """Nobody changes settings after they were read."""
    config = Config(models={"m": model()})
    with pytest.raises(ValueError, match="frozen"):
        config.models["m"].max_series = 1


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["auto", "1d", "numeric", "binary", "f1", "ks", "${X}", "${X:-a}"])
    | st.dates()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "score", "methods", "min", "type", "size", "rows", "refresh", "every"])
            | st.text(max_size=5)
            | st.integers()
            | st.booleans(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
settings_of_a_model = st.builds(
    lambda task, settings: {**task, **settings},
    st.sampled_from([{}, {"task": "binary"}, {"task": "multiclass"}]),
    st.dictionaries(
        st.sampled_from(list(ModelConfig.model_fields)) | st.text(max_size=5) | st.integers(),
        values,
        max_size=6,
    ),
)


@given(
    settings_of_a_model | values,
    st.dictionaries(st.text(max_size=5) | st.integers(), settings_of_a_model | values, max_size=2),
)
def test_whatever_a_file_holds_the_answer_is_settings_or_problems(defaults, models):
    """No content of a file ends in anything but a configuration or its problems: paths and sentences."""
    found: list[tuple[str, str]] = []
    names: set[str] = set()
    try:
        names = set(parse_config({"defaults": defaults, "models": models}, {}).models)
    except ConfigurationError as error:
        found = error.problems
    assert bool(found) != bool(names)
    assert all(isinstance(path, str) and message for path, message in found)
    assert len(set(found)) == len(found)
    assert names <= set(models)


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        (
            {"champion": "a", "comparison": {"metrics": ["mean_label"]}},
            "comparison.metrics[0]",
            "does not fit",
        ),
        ({"champion": "a", "comparison": {"metrics": ["acuracy"]}}, "comparison.metrics[0]", "accuracy"),
        ({"comparison": {"split": "even"}}, "comparison.split", "equal"),
        ({"champion": "a", "comparison": {"split": {"b": 1}}}, "comparison.split", "'a' has no share"),
        ({"comparison": {"split": {"a": 0}}}, "comparison.split", "greater than 0"),
    ],
)
def test_comparisons_that_cannot_be_made_are_refused(changes, path, text):
    """Metrics of another task or of no name, and splits without the champion, are named with their path."""
    with pytest.raises(ConfigurationError) as caught:
        parse_config({"models": {"m": {"task": "binary", **changes}}})
    (found,) = [(at, message) for at, message in caught.value.problems if "comparison" in at]
    assert path in found[0]
    assert text in found[1]


def test_comparisons_take_metrics_of_labels_and_any_split():
    """`conversion` is no metric of performance, but one that is compared; shares have any sum."""
    settings = parse_config(
        {
            "models": {
                "m": {
                    "task": "binary",
                    "champion": "a",
                    "comparison": {"metrics": ["accuracy", "conversion"], "split": {"a": 9, "b": 1}},
                }
            }
        }
    ).models["m"]
    assert settings.comparison.metrics == ("accuracy", "conversion")
    assert settings.comparison.split == {"a": 9.0, "b": 1.0}
