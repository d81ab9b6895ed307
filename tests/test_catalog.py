"""The catalogue agrees with itself, with OpenMetrics' rules and with promtool."""

from __future__ import annotations

import re

import pytest
from prometheus_client.samples import Sample as OwnSample

from exporter.catalog import (
    BUDGET_ORDER,
    DRIFT_METHODS,
    FAMILIES,
    PERFORMANCE_METRICS,
    QUALITY_CHECKS,
    REASONS,
    SEGMENTED,
    segment_name,
)
from exporter.exposition import Exposition, Snapshot
from exporter.schema import Kind, Task
from tests.prometheus import check_metrics

CONTRACT_METRICS = """accuracy balanced_accuracy precision recall f1 specificity mcc roc_auc pr_auc log_loss
brier ece mae rmse mape smape bias r2 median_absolute_error
absolute_error_p90 absolute_error_p95 absolute_error_p99 ndcg_at_k map_at_k mrr"""
CONTRACT_METHODS = "ks psi js wasserstein hellinger cvm anderson chi2 tv linf g mmd pca missing"


def every_family() -> Snapshot:
    """Return a snapshot with at least one series of every family."""
    samples, own = [], []
    for name, family in FAMILIES.items():
        labels = dict.fromkeys(family.labels, "x")
        if family.type == "histogram":
            own += [
                (name, OwnSample(f"{name}_bucket", {**labels, "le": "1.0"}, 1)),
                (name, OwnSample(f"{name}_bucket", {**labels, "le": "+Inf"}, 2)),
                (name, OwnSample(f"{name}_count", labels, 2)),
                (name, OwnSample(f"{name}_sum", labels, 3.5)),
            ]
        elif name.startswith(("ml_exporter_", "ml_bridge_", "process_")):
            own.append((name, OwnSample(name, labels, 1)))
        else:
            samples.append((name, tuple(labels.values()), 1.0))
    exposition = Exposition()
    exposition.update("x", samples)
    return exposition.snapshot(own, made_at=1.0)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_family_follows_the_naming_rules(family):
    """Names, labels and units are what Prometheus and OpenMetrics ask for."""
    assert re.fullmatch(r"(ml|process)_[a-z0-9_]+", family.name)
    assert family.name.endswith("_total") == (family.type == "counter")
    assert not family.unit or family.base.endswith(f"_{family.unit}")
    assert len(set(family.labels)) == len(family.labels)
    assert all(re.fullmatch(r"[a-z][a-z_]*", label) for label in family.labels)
    assert not {"le", "quantile"} & set(family.labels)
    assert family.help.strip() == family.help
    assert family.help.endswith(".")


def test_no_two_families_have_one_name_in_openmetrics():
    """A counter goes by its name without `_total`, which no other family may have."""
    bases = [family.base for family in FAMILIES.values()]
    assert len(bases) == len(set(bases))


def test_model_families_name_their_model_first():
    """Every family of a model says whose it is; only the catalogue's own family is of no model."""
    for name, family in FAMILIES.items():
        if not name.startswith(("ml_exporter_", "ml_bridge_", "process_")) and name != "ml_metric_info":
            assert family.labels[0] == "model", name


def test_segment_families_add_segment_and_value():
    """A segment's family has its whole's labels and two more."""
    for name in SEGMENTED:
        whole, part = FAMILIES[name], FAMILIES[segment_name(name)]
        assert set(part.labels) == {*whole.labels, "segment", "value"}
        assert part.type == whole.type


def test_catalogue_has_the_names_of_the_contract():
    """Metrics and methods are those that were promised."""
    assert list(PERFORMANCE_METRICS) == CONTRACT_METRICS.split()
    assert set(DRIFT_METHODS) == set(CONTRACT_METHODS.split())
    assert {task for metric in PERFORMANCE_METRICS.values() for task in metric.tasks} == set(Task)
    assert {kind for method in DRIFT_METHODS.values() for kind in method.kinds} <= set(Kind)
    assert len(REASONS) == 10
    assert all(0 <= threshold <= 1 for threshold in QUALITY_CHECKS.values())


def test_budget_order_names_families_once_and_keeps_bin_sets_whole():
    """What goes first is written down, and counts and baseline of bins go together."""
    named = [name for group in BUDGET_ORDER for name in group]
    assert len(named) == len(set(named))
    assert set(named) <= set(FAMILIES)
    assert ("ml_column_rows_total", "ml_baseline_ratio") in BUDGET_ORDER
    assert "ml_undefined" not in named


@pytest.mark.prometheus
def test_promtool_has_no_complaint_about_any_family(requires_program):
    """`promtool check metrics` accepts every name, type, unit and help."""
    code, complaints = check_metrics(requires_program("promtool"), every_family().text)
    assert (code, complaints) == (0, "")
