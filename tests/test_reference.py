"""The committed reference pages are what the code says, and the PromQL in them works."""

from __future__ import annotations

import json
import math
import re
import subprocess
from pathlib import Path

import pytest

from exporter.alerts.config import (
    AppriseSettings,
    BridgeConfig,
    EmailSettings,
    RouteSettings,
    SlackSettings,
    WebhookSettings,
)
from exporter.catalog import DRIFT_METHODS, FAMILIES, PERFORMANCE_METRICS, QUALITY_CHECKS, REASONS
from exporter.config import ModelConfig
from exporter.reference import (
    JOINS,
    PAGES,
    render_bridge_configuration,
    render_configuration,
    render_metrics,
)

DOCS = Path(__file__).parent.parent / "docs"

PLACE = 'model="m",version="v",window="1d"'
WINDOW = PLACE + ',job="ml",instance="a:1"'
COLUMN = WINDOW + ',column="c",role="feature"'
BINS = 'model="m",version="v",column="c",grid="g",job="ml",instance="a:1"'

INPUT = {
    f'ml_performance{{{WINDOW},metric="f1"}}': "0.7",
    f'ml_performance_baseline{{{WINDOW},metric="f1"}}': "0.9",
    f'ml_performance_drop{{{WINDOW},metric="f1"}}': "0.2",
    f'ml_performance_drop_threshold{{{WINDOW},metric="f1"}}': "0.1",
    f"ml_performance_window_rows{{{WINDOW}}}": "100",
    'ml_metric_info{metric="f1",unit="ratio",higher_is_better="true",job="ml",instance="a:1"}': "1",
    f'ml_segment_performance{{{WINDOW},segment="s",value="x",metric="f1"}}': "0.5",
    f'ml_drift_statistic{{{COLUMN},method="ks"}}': "0.3",
    f'ml_drift_critical_value{{{COLUMN},method="ks"}}': "0.1",
    f"ml_drift_q_value{{{COLUMN}}}": "0.0001",
    f"ml_drift_alpha{{{WINDOW}}}": "0.05",
    f"ml_drift_since_timestamp_seconds{{{COLUMN}}}": "10000",
    f"ml_window_end_timestamp_seconds{{{WINDOW}}}": "40000",
    f"ml_window_seconds{{{WINDOW}}}": "86400",
    **{
        f'ml_quality_{check}_ratio{{{WINDOW},column="c"}}': "0.25"
        for check in ("completeness", "uniqueness", "type_valid", "in_range", "known_category")
    },
    f'ml_quality_validity_ratio{{{WINDOW},column="c",rule="min"}}': "0.25",
    f'ml_quality_consistency_ratio{{{WINDOW},rule="order"}}': "0.25",
    f"ml_quality_timeliness_ratio{{{WINDOW}}}": "0.25",
    f"ml_quality_score{{{WINDOW}}}": "0.25",
    f"ml_quality_duplicate_ratio{{{WINDOW}}}": "0.75",
    f'ml_quality_outlier_ratio{{{WINDOW},column="c"}}': "0.75",
    'ml_volume_rows{model="m",version="v",span="1h"}': "5",
    'ml_volume_lower_rows{model="m",version="v",span="1h"}': "9",
    **{f'ml_quality_threshold{{{WINDOW},check="{check}"}}': "0.5" for check in QUALITY_CHECKS},
    f'ml_column_rows_total{{{BINS},bin="00"}}': "0+1x1440",
    f'ml_column_rows_total{{{BINS},bin="01"}}': "0+3x1440",
    f'ml_baseline_ratio{{{BINS},bin="00"}}': "0.5",
    f'ml_baseline_ratio{{{BINS},bin="01"}}': "0.5",
    f"ml_drifted_columns_ratio{{{WINDOW}}}": "0.5",
    f"ml_drifted_columns_ratio_threshold{{{WINDOW}}}": "0.3",
    f"ml_labeled_ratio{{{WINDOW}}}": "0.25",
    f"ml_labeled_ratio_threshold{{{WINDOW}}}": "0.5",
    'ml_exporter_snapshot_timestamp_seconds{job="ml",instance="a:1"}': "9000",
    'ml_last_batch_timestamp_seconds{model="m",version="v",job="ml",instance="a:1"}': "2000",
    'ml_age_threshold_seconds{model="m",version="v",subject="batch",job="ml",instance="a:1"}': "6000",
    'ml_exporter_series{model="m",job="ml",instance="a:1"}': "50",
    'ml_exporter_max_series{model="m",job="ml",instance="a:1"}': "100",
}
EXPECTED = {
    "ml_performance_drop": 0.2,
    "ml_performance - ml": -0.2,
    "ml_performance and": 0.7,
    "ml_performance * on": 0.7,
    "ml_segment_performance": -0.2,
    "ml_drift_statistic": 0.3,
    "ml_drift_q_value": 0.0001,
    "(ml_window_end": 30000,
    "ml_quality_duplicate": 0.75,
    "ml_quality_outlier": 0.75,
    "ml_volume_rows": 5,
    "ml_quality": 0.25,
    "sum without (bin)": round(sum((p - 0.5) * math.log(p / 0.5) for p in (1440.5 / 5761, 4320.5 / 5761)), 7),
    "ml_drifted_columns": 0.5,
    "ml_labeled_ratio": 0.25,
    "ml_exporter_snapshot": 7000,
    "ml_exporter_series": 0.5,
}


@pytest.mark.parametrize("page", PAGES)
def test_committed_page_is_what_the_code_says(page):
    """`python -m exporter.reference docs` would change nothing."""
    assert (DOCS / page).read_text(encoding="utf-8") == PAGES[page]()


def test_metrics_page_has_every_name():
    """Families, metrics, methods, reasons and checks are all documented, each family once."""
    page = render_metrics()
    for name in (*FAMILIES, *PERFORMANCE_METRICS, *DRIFT_METHODS, *REASONS, *QUALITY_CHECKS):
        assert f"| `{name}` |" in page
    assert all(page.count(f"\n| `{name}` |") == 1 for name in FAMILIES)


def test_configuration_page_has_every_setting():
    """Each setting of a model stands in the page with what it means."""
    page = render_configuration()
    for name, field in ModelConfig.model_fields.items():
        assert re.search(rf"^\| `{name}` \| .+\| {re.escape(field.description)} \|$", page, re.MULTILINE), (
            name
        )


@pytest.mark.parametrize(
    "settings", [BridgeConfig, SlackSettings, EmailSettings, WebhookSettings, AppriseSettings, RouteSettings]
)
def test_page_of_the_bridge_has_every_setting(settings):
    """Each key of the bridge's file stands in the page by its name there, with what it means."""
    page = render_bridge_configuration()
    names = {"sender": "from", "go_on": "continue"}
    for name in settings.model_fields.keys() - {"type"}:
        row = rf"^\| `{names.get(name, name)}` \| .+\| [^|]+ \|$"
        assert re.search(row, page, re.MULTILINE), name


def expected_value(expression: str) -> float:
    return next(value for begin, value in EXPECTED.items() if expression.startswith(begin))


@pytest.mark.prometheus
@pytest.mark.parametrize("join", JOINS, ids=lambda join: join.title)
def test_documented_join_gives_one_series(join, requires_program, tmp_path):
    """Each comparison in the docs joins: promtool finds the one series and the value that is expected."""
    test = {
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": series, "values": values if "x" in values else f"{values}+0x1440"}
                    for series, values in INPUT.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": f"round(sum({join.expression}), 1e-7) * count({join.expression})",
                        "eval_time": "24h",
                        "exp_samples": [{"labels": "{}", "value": expected_value(join.expression)}],
                    }
                ],
            }
        ]
    }
    source = tmp_path / "test.json"
    source.write_text(json.dumps(test), encoding="utf-8")
    command = [str(requires_program("promtool")), "test", "rules", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
