"""Draw messages for Slack as Slack shows blocks; run as a program it writes docs/images/slack.png.

It is a drawing of the blocks that are sent, in the manner of Slack's client, not a photograph of one.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from exporter.alerts.channels.slack.blocks import Post, posts_of
from exporter.alerts.composing.templates import Templates
from exporter.alerts.records import Message

PAGE = Path(__file__).parent.parent / "docs" / "images" / "slack.png"
WIDTH, HEIGHT = 1240, 900
SIGNS = {"🔴": "#dd2e44", "🟠": "#f4900c", "🔵": "#55acee", "⚪": "#ccd6dd", "✅": "#77b255"}
"""Drawn by their colours: not every machine has a font for them."""
STYLE = """
body {margin: 0; font: 15px/1.46 Lato, 'Liberation Sans', Arial, sans-serif; color: #1d1c1d; background: #fff}
.page {display: flex} .pane {flex: 1; padding: 14px 20px; min-width: 0}
.pane + .pane {border-left: 1px solid #ddd} .pane > b {display: block; font-size: 18px; margin-bottom: 12px}
.message {display: flex; gap: 10px; margin-bottom: 16px} .message > div {min-width: 0}
.face {flex: none; width: 36px; height: 36px; border-radius: 6px; background: #4a154b; color: #fff;
       text-align: center; line-height: 36px; font-weight: bold}
.app {font-size: 10px; background: #ddd; border-radius: 2px; padding: 1px 3px; color: #616061}
.time, .context {font-size: 12px; color: #616061} h3 {font-size: 18px; margin: 2px 0 6px}
.fields {display: grid; grid-template-columns: 1fr 1fr; gap: 6px 12px; margin: 6px 0}
p {margin: 6px 0; white-space: pre-wrap; overflow-wrap: anywhere} a {color: #1264a3; text-decoration: none}
code {font-size: 12px; color: #c01343; background: #f6f6f6; border: 1px solid #ddd; border-radius: 3px;
      padding: 1px 3px}
.sign {display: inline-block; width: 15px; height: 15px; border-radius: 8px; vertical-align: -1px;
       color: #fff; font: bold 12px/15px sans-serif; text-align: center}
hr {border: 0; border-top: 1px solid #ddd; margin: 8px 0}
"""


def html_of(blocks: Sequence[Mapping[str, Any]]) -> str:
    """Give blocks as HTML."""
    text = "".join(_block(block) for block in blocks)
    for sign, colour in SIGNS.items():
        inner = "\u2713" if sign == "✅" else "&nbsp;"
        text = text.replace(sign, f'<span class="sign" style="background: {colour}">{inner}</span>')
    return text


def _block(block: Mapping[str, Any]) -> str:
    kind = block["type"]
    if kind == "header":
        return f"<h3>{html.escape(block['text']['text'])}</h3>"
    if kind == "divider":
        return "<hr>"
    if kind == "context":
        return f'<p class="context">{" ".join(_marked(part["text"]) for part in block["elements"])}</p>'
    if "fields" in block:
        fields = "".join(f"<div>{_marked(field['text'])}</div>" for field in block["fields"])
        return f'<div class="fields">{fields}</div>'
    return f"<p>{_marked(block['text']['text'])}</p>"


def _marked(text: str) -> str:
    """Slack's markup as HTML; its entities are HTML's."""
    text = re.sub(r"<!date\^\d+\^[^|]*\|([^>]*)>", r"\1", text)
    text = re.sub(r"<(https?://[^|>]*)\|([^>]*)>", r'<a href="\1">\2</a>', text)
    text = re.sub(r"`([^`\n]+)`", r"<code>\1</code>", text)
    text = re.sub(r"(?<![\w>])\*([^*\n]+)\*(?!\w)", r"<b>\1</b>", text)
    return text.replace("\n", "<br>")


def message_html(post: Post, time: str) -> str:
    """Give one message with its sender."""
    return (
        '<div class="message"><div class="face">ML</div><div><b>ml-alerts</b> <span class="app">APP</span> '
        f'<span class="time">{time}</span>{html_of(post.blocks)}</div></div>'
    )


def main() -> None:
    from tests.alerts.examples import column_drift, performance_drop, resolved  # noqa: PLC0415

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("chromium is not installed (tools/install-programs)")
    templates = Templates(None, on_failure=lambda name: print(f"template {name} failed"))  # noqa: T201

    def drawn(message: Message, time: str) -> str:
        posts = posts_of(
            message, lambda told, view: templates.render("slack_alert.md", message=told, view=view)
        )
        return message_html(posts[0], time)

    page = (
        f'<!DOCTYPE html><meta charset="utf-8"><style>{STYLE}</style><div class="page">'
        f'<div class="pane"><b># ml-alerts</b>{drawn(performance_drop(), "12:00 PM")}</div>'
        f'<div class="pane"><b>Thread</b>{drawn(resolved(), "2:00 PM")}'
        f"<b># ml-alerts</b>{drawn(column_drift(6), '3:15 PM')}</div></div>"
    )
    with tempfile.TemporaryDirectory() as directory:
        source, shot = Path(directory) / "page.html", Path(directory) / "page.png"
        source.write_text(page, encoding="utf-8")
        subprocess.run(  # noqa: S603
            [
                chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                f"--user-data-dir={directory}/profile", f"--screenshot={shot}",
                f"--window-size={WIDTH},{HEIGHT}", source.as_uri(),
            ],
            capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        with Image.open(shot) as image:
            small = image.convert("RGB").quantize(200, dither=Image.Dither.NONE)
            small.save(PAGE, optimize=True)
    print(f"{PAGE}: {PAGE.stat().st_size:,} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
