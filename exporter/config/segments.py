"""Settings of the search for weak segments."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from exporter.settings import Settings


class SegmentSearch(Settings):
    """Where weak segments are looked for: in the values of columns, alone and by two."""

    columns: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        min_length=1,
        max_length=10,
        description="Features; they are kept with each prediction until its label comes.",
    )
    values: int = Field(
        default=10,
        ge=2,
        le=10,
        description="Values of a categorical column that are looked at one by one, the most frequent of the "
        "baseline; numeric columns are cut at its quintiles.",
    )
    depth: Literal[1, 2] = Field(default=2, description="1: single columns; 2: pairs of columns too.")
    minimum_rows: int = Field(
        default=100, ge=10, description="Labelled rows below which a segment is not looked at."
    )
