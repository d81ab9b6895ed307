"""The examples of docs/alert-manager.md run as they stand, but for the addresses."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest

from tests.alerts.hook_peer import HookPeer
from tests.alerts.mail_server import MailServer, make_certificate
from tests.alerts.slack_peer import SlackPeer
from tests.scripted_server import Reply, ScriptedServer

PAGE = Path(__file__).parents[2] / "docs" / "alert-manager.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_example_runs(number, tmp_path, monkeypatch):
    """Each example does what it says, with a real mail server and real HTTP receivers."""
    monkeypatch.chdir(tmp_path)
    certificate = make_certificate(tmp_path, "127.0.0.1")
    with (
        HookPeer() as hook,
        closing(SlackPeer()) as slack,
        closing(ScriptedServer()) as alertmanager,
        MailServer(certificate=certificate) as mail,
    ):
        alertmanager.accept = lambda _: Reply(200)
        server = f'"127.0.0.1", "smtp_port": {mail.port}, "ca_file": {str(certificate.path)!r}'
        addresses = {
            '"smtp.example.org"': server,
            "https://hooks.slack.com/services/T000/B000/XXXX": slack.webhook_url,
            "https://example.org/hook": f"{hook.url}/hook",
            "http://127.0.0.1:9093": alertmanager.url,
        }
        code = "from exporter import AlertManager\n" + SNIPPETS[number]
        for documented, real in addresses.items():
            code = code.replace(documented, real)
        exec(compile(code, f"{PAGE.name}[{number}]", "exec"), {})
        if number == 0:
            assert "age has drifted" in mail.received[0].email["Subject"]
            assert "age has drifted" in str(slack.calls)


def test_page_names_every_argument_and_column():
    """Every argument of the constructor and every column of both frames is on the page."""
    import inspect

    from exporter import AlertManager
    from exporter.alerts.sending.frames import HISTORY, NOTIFICATIONS

    text = PAGE.read_text(encoding="utf-8")
    arguments = set(inspect.signature(AlertManager).parameters) - {"clock"}
    missing = {name for name in (*arguments, *HISTORY, *NOTIFICATIONS) if f"`{name}`" not in text}
    assert not missing
