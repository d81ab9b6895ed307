from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.demo.flights import load_flights
from exporter.demo.model import train

if TYPE_CHECKING:
    import pandas as pd

    from exporter.demo.model import Classifiers


@pytest.fixture(scope="session")
def flights() -> pd.DataFrame:
    return load_flights()


@pytest.fixture(scope="session")
def classifiers(flights: pd.DataFrame) -> Classifiers:
    return train(flights)
