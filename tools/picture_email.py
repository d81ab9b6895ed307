"""Draw emails as browsers show them; run as a program it writes docs/images/email.png.

The picture shows one email on a desk with light colours and on a phone with dark ones.
"""

from __future__ import annotations

import base64
import html
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from PIL import Image

from exporter.alerts.addresses import parse_mailboxes
from exporter.alerts.channels.email.writing import Form, Writer
from exporter.alerts.composing.templates import Templates
from exporter.alerts.records import Delivery, Message

PAGE = Path(__file__).parent.parent / "docs" / "images" / "email.png"
DESK, PHONE = 680, 360


def html_of(message: Message) -> str:
    """Give the HTML of a message's email with its pictures inside."""
    (box,) = parse_mailboxes("ml@example.org")
    templates = Templates(None, on_failure=lambda name: print(f"template {name} failed"))  # noqa: T201
    writer = Writer("mail", box, (box,), (), templates, UTC)
    delivery = Delivery(1, "mail", message.notification, 1, "lease")
    form, content = next(writer.forms(message, delivery, utf8=False))
    if form is Form.PLAIN:
        raise ValueError("the message has no HTML")
    email = message_from_bytes(content, policy=policy.default)
    if not isinstance(email, EmailMessage) or (body := email.get_body(("html",))) is None:
        raise TypeError("the message has no HTML")
    text: str = body.get_content()
    for part in email.walk():
        if part.get_content_maintype() == "image":
            data = base64.b64encode(part.get_content()).decode()
            text = text.replace(f"cid:{part['Content-ID'].strip()[1:-1]}", f"data:image/png;base64,{data}")
    return text


def framed(pages: Sequence[str], *, width: int, height: int) -> str:
    """Give one page that shows others in frames of a size: windows of browsers cannot be so narrow.

    Its title tells how wide the content of each is.
    """
    frames = "".join(
        f'<iframe srcdoc="{html.escape(page)}" scrolling="no" '
        f'style="border:0;display:block;width:{width}px;height:{height}px;color-scheme:light dark"></iframe>'
        for page in pages
    )
    script = (
        "onload = () => document.title = [...document.querySelectorAll('iframe')].map(f => f.contentDocument)"
        ".map(d => d.documentElement.scrollWidth + 'x' + d.body.offsetHeight).join(' ')"
    )
    return (
        '<!DOCTYPE html><html><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        f'</head><body style="margin:0">{frames}<script>{script}</script></body></html>'
    )


def browse(chromium: Path, page: str, *flags: str, dark: bool = False) -> str:
    """Open a page in Chromium, and return what it printed."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "page.html"
        path.write_text(page, encoding="utf-8")
        command = [
            str(chromium), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={directory}/profile",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            *flags, path.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, timeout=60, check=True)  # noqa: S603
    return done.stdout.decode("utf-8", "replace")


def picture(chromium: Path, page: str, *, width: int, height: int, dark: bool = False) -> Image.Image:
    """Draw an email in a window of a size."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "page.png"
        browse(
            chromium,
            framed([page], width=width, height=height),
            f"--screenshot={path}",
            f"--window-size={max(width, 520)},{height}",
            dark=dark,
        )
        with Image.open(path) as image:
            return image.convert("RGB").crop((0, 0, width, height))


def main() -> None:
    from tests.alerts.examples import performance_drop  # noqa: PLC0415  # only this picture is of an example

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("chromium is not installed (tools/install-programs)")
    page = html_of(performance_drop())
    desk = picture(Path(chromium), page, width=DESK, height=925)
    phone = picture(Path(chromium), page, width=PHONE, height=925, dark=True)
    whole = Image.new("RGB", (DESK + PHONE, 925))
    whole.paste(desk, (0, 0))
    whole.paste(phone, (DESK, 0))
    whole.quantize(240, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(PAGE, optimize=True)
    print(f"{PAGE}: {PAGE.stat().st_size:,} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
