"""Settings of a custom metric."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from exporter.settings import Settings

FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:([A-Za-z_]\w*)")
"""`package.module:function`."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def _name(value: object) -> object:
    if isinstance(value, str) and not _NAME.fullmatch(value):
        message = f"expected letters, digits and underscores, at most 100, got {value[:120]!r}"
        raise ValueError(message)
    return value


def _function(value: object) -> object:
    if isinstance(value, str) and not FUNCTION.fullmatch(value):
        message = f"expected package.module:function, got {value!r}"
        raise ValueError(message)
    return value


class CustomMetric(Settings):
    """A metric of your own: a Python function or a SQL aggregate over labelled rows."""

    name: Annotated[str, BeforeValidator(_name)] = Field(description="The label `metric`.")
    function: Annotated[str | None, BeforeValidator(_function)] = Field(
        default=None,
        description="`package.module:function`, given labelled rows; it runs in the exporter's process.",
    )
    sql: Annotated[str, Field(min_length=1, max_length=4000)] | None = Field(
        default=None,
        description="A ratio of sums, counts or means over labelled rows, such as "
        "`sum(case when prediction <> label then amount else 0 end) / count(*)`.",
    )
    unit: Annotated[str, Field(min_length=1, max_length=50)] | None = Field(
        default=None,
        description="`ratio` for shares, else what the value is counted in. Default: what the function "
        "declares, or `none`.",
    )
    higher_is_better: bool | None = Field(
        default=None, description="Default: what the function declares, or true."
    )
    columns: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        default=None,
        max_length=20,
        description="Columns that the function reads beside `prediction`, `label` and `score`; they are kept "
        "with each prediction until its label comes. Those of SQL are read off the expression.",
    )

    @model_validator(mode="after")
    def _one_definition(self) -> CustomMetric:
        if (self.function is None) == (self.sql is None):
            message = "expected either function or sql"
            raise ValueError(message)
        if self.sql is not None and self.columns is not None:
            message = "the columns of sql are read off the expression"
            raise ValueError(message)
        return self
