"""The bytes of emails: structure, headers, threads, golden texts; texts from outside break nothing."""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from datetime import UTC
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from exporter.alerts.addresses import parse_mailboxes
from exporter.alerts.channels.email import pictures
from exporter.alerts.channels.email.threads import message_id, root_id, state_of, subject_of, topic_of
from exporter.alerts.channels.email.writing import Form, Writer
from exporter.alerts.composing.plain import plain_message
from exporter.alerts.composing.templates import Templates
from exporter.alerts.records import Change, Facts, Kind, Severity
from tests.alerts.examples import (
    HOSTILE,
    NOW,
    column_drift,
    delivery,
    hostile,
    message,
    missing_heartbeat,
    no_data,
    performance_drop,
    resolved,
    test_message,
)

GOLDEN = Path(__file__).parent / "golden" / "email"
EXAMPLES = {
    "performance_drop": performance_drop,
    "column_drift": column_drift,
    "resolved": resolved,
    "no_data": no_data,
    "test": test_message,
    "missing_heartbeat": missing_heartbeat,
}


@pytest.fixture
def templates():
    failures: list[str] = []
    yield Templates(None, on_failure=failures.append)
    assert failures == []


@pytest.fixture
def writer(templates):
    return make_writer(templates)


def make_writer(
    templates, *, to="Team <team@example.org>", cc=(), sender="ML alerts <ml@example.org>", **more
):
    return Writer(
        more.pop("channel", "mail"),
        parse_mailboxes(sender)[0],
        parse_mailboxes(to),
        cc,
        templates,
        UTC,
        **more,
    )


def written(writer, given, *, utf8=False, **changes) -> dict[Form, bytes]:
    return dict(writer.forms(given, delivery(given, channel="mail", **changes), utf8=utf8))


def parsed(content: bytes) -> EmailMessage:
    email = message_from_bytes(content, policy=policy.default)
    assert isinstance(email, EmailMessage)
    assert all(part.defects == [] for part in email.walk())
    assert all(not header.defects for header in email.values() if hasattr(header, "defects"))
    return email


def html_of(email: EmailMessage) -> str:
    body = email.get_body(("html",))
    assert body is not None
    return body.get_content().replace("\r\n", "\n")


def text_of(email: EmailMessage) -> str:
    body = email.get_body(("plain",))
    assert body is not None
    return body.get_content().replace("\r\n", "\n")


# -- structure ----------------------------------------------------------------------------------------


def test_parts_stand_where_clients_look_for_them(writer):
    """Text and HTML as alternatives, beside the pictures that the HTML refers to by their ids."""
    email = parsed(written(writer, performance_drop())[Form.PICTURES])
    assert email.get_content_type() == "multipart/related"
    assert email.get_param("type") == "multipart/alternative"
    bodies, picture = email.iter_parts()
    assert [part.get_content_type() for part in bodies.iter_parts()] == ["text/plain", "text/html"]
    assert picture.get_content_type() == "image/png"
    assert picture.get_content_disposition() == "inline"
    assert Image.open(io.BytesIO(picture.get_content())).size == (920, 356)
    content_id = picture["Content-ID"].strip()
    assert f'src="cid:{content_id[1:-1]}"' in html_of(email)
    assert "MIME-Version" in email
    assert all("MIME-Version" not in part for part in email.walk() if part is not email)


def test_forms_shrink(writer):
    """Each form is smaller than the one before."""
    forms = written(writer, performance_drop())
    assert list(forms) == [Form.PICTURES, Form.HTML, Form.PLAIN]
    sizes = [len(content) for content in forms.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert parsed(forms[Form.HTML]).get_content_type() == "multipart/alternative"
    assert "cid:" not in html_of(parsed(forms[Form.HTML]))
    assert parsed(forms[Form.PLAIN]).get_content_type() == "text/plain"


def test_only_three_pictures(writer):
    """A group of forty columns is no gallery."""
    email = parsed(written(writer, column_drift(40))[Form.PICTURES])
    pictures = [part for part in email.walk() if part.get_content_maintype() == "image"]
    assert len(pictures) == 3
    assert len({part["Content-ID"] for part in pictures}) == 3


def test_pictures_can_be_left_out(templates):
    """`charts: false` sends none."""
    forms = written(make_writer(templates, charts=False), performance_drop())
    assert list(forms) == [Form.HTML, Form.PLAIN]


def test_chart_that_cannot_be_drawn_stops_no_message(writer, monkeypatch):
    """The message goes without it."""

    def fail(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(pictures, "chart_png", fail)
    assert list(written(writer, performance_drop())) == [Form.HTML, Form.PLAIN]


def test_bytes_are_the_same_for_the_same_message(writer):
    """A retry is the same email, to the last byte."""
    assert written(writer, performance_drop()) == written(writer, performance_drop())


@pytest.mark.parametrize("example", [*EXAMPLES.values(), hostile])
def test_lines_and_sizes_are_within_what_servers_take(writer, example):
    """Lines end with CR LF and are short, all is ASCII, and Gmail does not cut the HTML off."""
    for form, content in written(writer, example()).items():
        assert content.isascii()
        lines = content.split(b"\r\n")
        assert max(map(len, lines)) <= 78, form
        assert all(b"\n" not in line and b"\r" not in line for line in lines)
        email = parsed(content)
        if form is not Form.PLAIN:
            assert len(html_of(email).encode()) < 102_000


def test_largest_group_is_not_cut_off_by_gmail(writer):
    """A hundred alerts with long texts stay below the size from which Gmail hides the rest."""
    views = tuple(
        replace(view, what="x" * 5000, summary="y" * 5000, description="z" * 5000)
        for view in column_drift(100).views
    )
    email = parsed(written(writer, replace(column_drift(100), views=views))[Form.HTML])
    assert len(html_of(email).encode()) < 102_000


# -- headers ------------------------------------------------------------------------------------------


def test_headers_of_a_firing_group(writer):
    """What filters, threads and people read."""
    email = parsed(written(writer, performance_drop())[Form.PICTURES])
    headers = {name: str(email[name]) for name in email if not name.startswith("Content")}
    assert headers == {
        "MIME-Version": "1.0",
        "From": "ML alerts <ml@example.org>",
        "To": "Team <team@example.org>",
        "Subject": "[FIRING:1] critical · Performance of flight_delay dropped",
        "Date": "Mon, 01 Jun 2026 12:00:00 +0000",
        "Message-ID": "<503031b6ea126f1a2dd5d754.notification@example.org>",
        "In-Reply-To": "<20cff7c8786829006201af22.20260601@example.org>",
        "References": "<20cff7c8786829006201af22.20260601@example.org>",
        "Thread-Topic": "Performance of flight_delay dropped",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "List-Id": "<mail.ml-exporter.example.org>",
        "Importance": "high",
        "X-Priority": "1 (Highest)",
        "Priority": "urgent",
        "X-ML-Severity": "critical",
        "X-ML-Status": "firing",
        "X-ML-Kind": "change",
        "X-ML-Model": "flight_delay",
        "X-ML-Version": "v3",
        "X-ML-Alerts": "MLPerformanceDrop",
        "X-ML-Group": "4f1c2a9be07d",
        "X-ML-Notification": "01JWPM3Z0000000000000000A1",
    }


@pytest.mark.parametrize("example", [resolved, column_drift, no_data])
def test_only_firing_critical_alerts_are_urgent(writer, example):
    """Neither warnings nor the end of anything wake anybody."""
    email = parsed(written(writer, example())[Form.HTML])
    assert not {"Importance", "X-Priority", "Priority"} & set(email.keys())


@pytest.mark.parametrize(
    ("example", "subject"),
    [
        (performance_drop(), "[FIRING:1] critical · Performance of flight_delay dropped"),
        (column_drift(40), "[FIRING:40] warning · Columns of flight_delay drifted"),
        (resolved(), "[RESOLVED] critical · Performance of flight_delay dropped"),
        (no_data(), "[NO DATA] critical · Performance of flight_delay dropped"),
        (test_message(), "[TEST] This is a test message: the channel works."),
        (
            missing_heartbeat(),
            "[SILENCE] critical · No heartbeat was heard for 15m: alerts may not get through.",
        ),
    ],
)
def test_subject_says_state_number_severity_and_matter(example, subject):
    """One short line that can be read on a lock screen."""
    assert subject_of(example, topic_of(example, None)) == subject


def test_subject_names_the_model_where_the_summary_does_not():
    """`f1 dropped` of which model?"""
    (view,) = performance_drop().views
    made = message((replace(view, summary="f1 dropped"),), title="x")
    assert subject_of(made, topic_of(made, None)) == "[FIRING:1] critical · flight_delay v3 · f1 dropped"


def test_reminders_say_that_it_still_fires():
    """A repetition is not a new alert."""
    made = performance_drop()
    reminder = replace(made, notification=replace(made.notification, kind=Kind.REMINDER))
    assert state_of(reminder) == "STILL FIRING:1"


def test_heartbeat_that_is_heard_again_is_the_end_of_the_silence():
    """The same kind of notification tells of both."""
    silent = missing_heartbeat().notification
    again = plain_message(replace(silent, firing=0, text="A heartbeat is heard again."), NOW)
    assert state_of(plain_message(silent, NOW)) == "SILENCE"
    assert state_of(again) == "RESOLVED"


def test_no_data_is_said_of_a_group_only_when_it_holds_for_all():
    """One that recovered makes it a recovery."""
    both = message((*no_data().views, *resolved().views), title="x")
    assert state_of(both) == "RESOLVED"
    passed = replace(resolved().views[0], change=Change.PASSED, ending="")
    assert state_of(message((passed,), title="x")) == "RESOLVED"


def test_own_title_becomes_the_subject(tmp_path):
    """Who writes title.txt decides what the subject is."""
    (tmp_path / "title.txt").write_text("mine")
    writer = make_writer(Templates(tmp_path, on_failure=lambda _: None))
    email = parsed(written(writer, replace(performance_drop(), title="My own title"))[Form.PLAIN])
    assert email["Subject"] == "My own title"


def test_plain_form_has_the_same_identity(writer):
    """Sent in plain after the rich one was refused, it is still the same message to clients."""
    rich = parsed(written(writer, performance_drop())[Form.PICTURES])
    plain = parsed(written(writer, performance_drop(), plain=True)[Form.PLAIN])
    for name in ("Message-ID", "References", "In-Reply-To", "Subject", "Date", "X-ML-Model"):
        assert rich[name] == plain[name]


# -- threads ------------------------------------------------------------------------------------------


def test_id_is_of_the_notification_and_the_channel():
    """Retries carry the same; other channels, other notifications another."""
    first, second = performance_drop().notification, resolved().notification
    ids = [message_id(n, channel, "example.org") for n in (first, second) for channel in ("a", "b")]
    assert len(set(ids)) == 4
    assert ids[0] == message_id(performance_drop().notification, "a", "example.org")


def test_root_is_of_the_group_and_the_day_unless_a_thread_is_open():
    """The next day begins a new thread, except for what still goes on."""
    made = performance_drop().notification
    root = root_id(made, None, "example.org")
    later = replace(made, id="another", created=NOW + 86400)
    assert root_id(replace(made, id="x", created=NOW + 3600), None, "example.org") == root
    assert root_id(later, None, "example.org") != root
    assert root_id(later, {"root": root}, "example.org") == root
    assert root_id(replace(made, group=replace(made.group, id="g2")), None, "example.org") != root


@pytest.mark.parametrize("kept", [{"root": "x\r\nBcc: evil@example.org"}, {"root": 5}, {}, {"ts": "17000.1"}])
def test_wrong_references_are_not_used(kept):
    """A store that holds something else opens a new thread."""
    made = performance_drop().notification
    assert root_id(made, kept, "example.org") == root_id(made, None, "example.org")


def test_subject_stays_through_a_thread(writer):
    """Clients that compare subjects keep the messages together."""
    first = performance_drop()
    thread = writer.thread(first, delivery(first))
    changed = message((replace(resolved().views[0], summary="Another summary"),), title="x")
    email = parsed(written(writer, changed, thread=thread)[Form.HTML])
    assert email["Subject"] == "[RESOLVED] critical · Performance of flight_delay dropped"
    assert writer.thread(changed, delivery(changed, thread=thread)) == thread


def test_test_messages_join_no_thread(writer):
    """Nor do they begin one."""
    email = parsed(written(writer, test_message())[Form.HTML])
    assert "References" not in email
    assert writer.thread(test_message(), delivery(test_message())) is None


def test_long_domains_do_not_break_ids(templates):
    """Ids are never folded."""
    long = "a" * 60 + ".example." + "b" * 60 + ".org"
    writer = make_writer(templates, sender=f"ml@{long}")
    content = written(writer, performance_drop())[Form.PLAIN]
    assert re.search(rb"\r\nReferences: <[0-9a-f]{24}\.20260601@ml-exporter\.invalid>\r\n", content)
    assert re.search(rb"\r\nMessage-ID: <[0-9a-f]{24}\.notification@ml-exporter\.invalid>\r\n", content)


# -- what comes from outside --------------------------------------------------------------------------


class Tags(HTMLParser):
    """Collects tags and the addresses they lead to; finds tags that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"href", "src"}]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in {"meta", "br", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)


def tags_of(html: str) -> Tags:
    parser = Tags()
    parser.feed(html)
    parser.close()
    return parser


@pytest.mark.parametrize("example", [*EXAMPLES.values(), hostile])
def test_html_is_balanced_and_leads_to_pages_only(writer, example):
    """No script, no form, no link but to http and https, whatever labels say."""
    found = tags_of(html_of(parsed(written(writer, example())[Form.HTML])))
    assert found.unbalanced == []
    assert found.open == []
    assert not found.names & {"script", "iframe", "form", "object", "svg", "link", "base"}
    assert all(address.startswith(("http://", "https://")) for address in found.addresses)


def test_hostile_texts_make_no_headers(writer):
    """Line ends in labels do not become headers, recipients or bodies."""
    for content in written(writer, hostile()).values():
        email = parsed(content)
        assert email.get_all("Bcc") is None
        assert email.get_all("Subject") is not None
        assert len(email.get_all("Subject")) == 1
        assert email["To"] == "Team <team@example.org>"
        assert "\n" not in email["Subject"]


TEXTS = st.text(max_size=300) | st.sampled_from(
    [HOSTILE, "=?utf-8?q?x?=", "a" * 300, "ü" * 200, "\ud800", "“x”, <y>"]
)


@settings(max_examples=60, deadline=None)
@given(text=TEXTS, name=TEXTS)
def test_any_text_gives_an_email_that_can_be_read_again(text, name):
    """Model names, summaries and titles of every kind survive, or are cut, but never break the message."""
    made = Templates(None, on_failure=pytest.fail)
    view = replace(
        performance_drop().views[0],
        summary=text,
        what=text,
        description=text,
        facts=Facts(measure=text, unit=text, undefined=text),
    )
    view = replace(view, alert=replace(view.alert, labels={"alertname": name, "model": text, name: text}))
    for form, content in written(make_writer(made, charts=False), message((view,), title=text[:150])).items():
        email = parsed(content)
        assert content.isascii()
        assert set(email.keys()) <= {*KNOWN_HEADERS, "Content-Transfer-Encoding", "Content-Type"}
        assert max(map(len, content.split(b"\r\n"))) <= 998
        if form is Form.HTML:
            assert tags_of(html_of(email)).unbalanced == []


KNOWN_HEADERS = (
    *("MIME-Version", "From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References"),
    *("Thread-Topic", "Auto-Submitted", "X-Auto-Response-Suppress", "List-Id", "Importance", "X-Priority"),
    *("Priority", "X-ML-Severity", "X-ML-Status", "X-ML-Kind", "X-ML-Model", "X-ML-Version", "X-ML-Alerts"),
    *("X-ML-Group", "X-ML-Notification"),
)


def test_subject_beyond_ascii_is_written_in_words_of_the_protocol(writer):
    """Long subjects in any script arrive as they were."""
    summary = "Güte von flug_verspätung fällt – 航班延误模型的性能下降了很多很多"  # noqa: RUF001
    view = replace(performance_drop().views[0], summary=summary)
    email = parsed(written(writer, message((view,), title="x"))[Form.PLAIN])
    assert email["Subject"] == f"[FIRING:1] critical · flight_delay v3 · {summary}"


def test_many_recipients_are_folded(templates):
    """A hundred addresses make long headers, not long lines."""
    everybody = ", ".join(f"Person {i} <person{i}@example.org>" for i in range(100))
    content = written(
        make_writer(templates, to=everybody, cc=parse_mailboxes("boss@example.org")), resolved()
    )[Form.PLAIN]
    email = parsed(content)
    assert len(email["To"].addresses) == 100
    assert str(email["Cc"]) == "boss@example.org"
    assert max(map(len, content.split(b"\r\n"))) <= 78


def test_broken_template_falls_back_to_the_built_in_one(tmp_path):
    """Yours is used while it works."""
    failed: list[str] = []
    (tmp_path / "email.txt").write_text("mine: {{ message.title }}")
    (tmp_path / "email.html").write_text("{{ message.views[99].what }}{{ 1 / 0 }}")
    email = parsed(written(make_writer(Templates(tmp_path, on_failure=failed.append)), resolved())[Form.HTML])
    assert text_of(email) == "mine: Recovered: flight_delay v3 f1 is 0.851\n"
    assert "RECOVERED" in html_of(email)
    assert set(failed) == {"email.html"}


# -- what people read ---------------------------------------------------------------------------------


def test_message_carries_what_a_person_needs(writer):
    """Model, version, what changed, against what, since when, worst columns, links: in both bodies."""
    email = parsed(written(writer, performance_drop())[Form.PICTURES])
    for body in (text_of(email), html_of(email)):
        for part in (
            *("CRITICAL", "flight_delay", "v3", "0.707", "0.86", "0.153", "0.1", "2026-06-01 10:00 UTC"),
            *("distance", "carrier", "origin", "0.31", "0.021", "/runbooks/MLPerformanceDrop"),
            *("/#/silences/new?filter=", "/d/ml-model?var-model=flight_delay"),
        ):
            assert part in body.replace("&amp;", "&")


def test_end_is_told_apart(writer):
    """Recovered shows the current value, no data says why there is none; nothing is left to silence."""
    recovered = parsed(written(writer, resolved())[Form.PICTURES])
    gone = parsed(written(writer, no_data())[Form.HTML])
    assert "RECOVERED" in html_of(recovered)
    assert "0.851" in html_of(recovered)
    assert "#067647" in html_of(recovered)  # green
    assert "NO DATA" in html_of(gone)
    assert "insufficient labels" in html_of(gone)
    assert "RECOVERED" not in html_of(gone)
    assert "silences/new" not in html_of(gone) + text_of(gone)


def test_change_is_of_the_exact_values(writer):
    """What the message's line says, not the difference of what was rounded for its sake."""
    view = performance_drop().views[0]
    facts = replace(view.facts, current=0.72649, baseline=0.89251, history=())
    html = html_of(parsed(written(writer, message((replace(view, facts=facts),), title="x"))[Form.HTML]))
    for shown in ("0.726", "0.893", "−0.166"):  # noqa: RUF001
        assert f">{shown}</div>" in html


@pytest.mark.parametrize(
    ("severity", "colour"), [("critical", "#b42318"), ("warning", "#b54708"), ("info", "#175cd3")]
)
def test_severity_is_said_in_words_and_colour(writer, severity, colour):
    """Nobody has to tell red from orange."""
    made = replace(performance_drop(), severity=Severity.of(severity))
    html = html_of(parsed(written(writer, made)[Form.HTML]))
    assert f'bgcolor="{colour}"' in html
    assert f"{severity.upper()} &middot; FIRING" in html


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("suffix", ["txt", "html"])
def test_bodies_are_as_agreed(writer, name, suffix):
    """Text and HTML as the golden files have them; `REWRITE_GOLDEN=1` writes them anew, to be looked at."""
    forms = written(writer, EXAMPLES[name]())
    email = parsed(forms.get(Form.PICTURES, forms[Form.HTML]))
    body = text_of(email) if suffix == "txt" else html_of(email)
    body = re.sub(r"cid:(\d+)\.[0-9a-f]{20}@", r"cid:\1.DIGEST@", body)
    path = GOLDEN / f"{name}.{suffix}"
    if os.environ.get("REWRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body, encoding="utf-8")
    assert body == path.read_text(encoding="utf-8")
