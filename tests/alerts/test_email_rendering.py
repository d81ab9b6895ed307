"""Emails as a browser draws them: wide and narrow, light and dark."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.alerts.examples import (
    column_drift,
    hostile,
    missing_heartbeat,
    no_data,
    performance_drop,
    resolved,
)
from tools.picture_email import browse, framed, html_of, picture

EXAMPLES = (performance_drop, column_drift, resolved, no_data, missing_heartbeat, hostile)


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 700])
def test_nothing_is_wider_than_the_window(requires_program, width):
    """Neither long words of labels nor tables make a reader scroll sideways."""
    pages = [html_of(example()) for example in EXAMPLES]
    pages.append(html_of(hostile("unbroken" * 500)))
    dom = browse(
        requires_program("chromium"),
        framed(pages, width=width, height=2000),
        "--dump-dom",
        "--window-size=800,800",
    )
    found = re.search(r"<title>([\dx ]+)</title>", dom)
    assert found is not None
    sizes = [tuple(map(int, size.split("x"))) for size in found[1].split()]
    assert len(sizes) == len(pages)
    assert [size[0] for size in sizes] == [width] * len(pages)
    assert all(height > 150 for _, height in sizes)


@pytest.mark.slow
def test_colours_follow_the_reader(requires_program):
    """Light or dark as the reader has it; the picture stays on white, the severity keeps its colour."""
    chromium = requires_program("chromium")
    page = html_of(performance_drop())
    light, dark = (
        np.asarray(picture(chromium, page, width=700, height=700, dark=dark)).astype(int)
        for dark in (False, True)
    )
    assert light[5, 5].tolist() == [0xF2, 0xF4, 0xF7]
    assert dark[5, 5].tolist() == [0x0D, 0x11, 0x17]
    assert dark[90, 640].tolist() == [0x16, 0x1B, 0x22]
    for image in (light, dark):
        assert image[40, 600].tolist() == [0xB4, 0x23, 0x18]
        assert (image[430:650, 100:600].min(axis=2) > 250).mean() > 0.4
