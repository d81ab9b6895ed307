"""Data-quality rules: validation rules of one column, consistency rules across columns.

Validation rules run in process on whole Arrow columns. A consistency rule is one boolean SQL expression;
it is checked against an allowlist when it is configured and evaluated in a worker process that can be
killed.
"""

from exporter.rules.expression import Expression, checked_tree, parse, render_values
from exporter.rules.process import EvaluationError, OverrunError, RuleWorker
from exporter.rules.ruleset import Judgement, RuleError, RuleOutcome, RuleSet

__all__ = [
    "EvaluationError",
    "Expression",
    "Judgement",
    "OverrunError",
    "RuleError",
    "RuleOutcome",
    "RuleSet",
    "RuleWorker",
    "checked_tree",
    "parse",
    "render_values",
]
