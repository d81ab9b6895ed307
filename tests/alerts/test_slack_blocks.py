"""Messages as Slack's blocks: what they show, and that Slack takes them whatever is in them."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.alerts.channels.slack.blocks import Post, plain_post, posts_of, size_of
from exporter.alerts.composing import mrkdwn
from exporter.alerts.composing.templates import Templates
from exporter.alerts.records import Change, Facts, Kind, Severity, WorstColumn
from tests.alerts import examples
from tests.alerts.block_kit import problems_of, units

GOLDEN = Path(__file__).parent / "golden" / "slack"
FAILURES: list[str] = []
TEMPLATES = Templates(None, on_failure=FAILURES.append)


def write(message, view):
    return TEMPLATES.render("slack_alert.md", message=message, view=view)


def posts(message) -> list[Post]:
    return posts_of(message, write)


def texts(post: Post) -> str:
    """Everything that a post shows."""
    return json.dumps(post.blocks, ensure_ascii=False)


def assert_taken(made: list[Post]) -> None:
    for post in made:
        assert problems_of(post.body()) == []


REPRESENTATIVE = {
    "performance_drop": lambda: posts(examples.performance_drop()),
    "column_drift": lambda: posts(examples.column_drift(40)),
    "split": lambda: posts(long_drift()),
    "resolved": lambda: posts(examples.resolved()),
    "no_data": lambda: posts(examples.no_data()),
    "hostile": lambda: posts(examples.hostile()),
    "test_message": lambda: posts(examples.test_message()),
    "missing_heartbeat": lambda: posts(examples.missing_heartbeat()),
    "plain": lambda: [plain_post(examples.performance_drop())],
    "plain_hostile": lambda: [plain_post(examples.hostile())],
}


def long_drift():
    """Forty alerts whose texts fill more than one post."""
    message = examples.column_drift(40)
    views = tuple(replace(view, what=f"{view.what}, {'as seen ' * 40}") for view in message.views)
    return replace(message, views=views)


@pytest.mark.parametrize("name", REPRESENTATIVE)
def test_representative_messages_are_as_they_were_looked_at(name):
    """Every kind of message has its blocks in a file that people read; REWRITE_GOLDEN=1 writes them anew."""
    made = REPRESENTATIVE[name]()
    assert_taken(made)
    text = json.dumps([post.body() for post in made], ensure_ascii=False, indent=2) + "\n"
    file = GOLDEN / f"{name}.json"
    if os.environ.get("REWRITE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text


def test_a_critical_drop_shows_what_a_person_needs():
    """Severity in words, model, version, value, threshold, since when, worst columns, history and links."""
    (post,) = posts(examples.performance_drop())
    shown = texts(post)
    for part in (
        "🔴 Critical:",
        "`flight_delay`",
        "`v3`",
        "f1 is 0.707, the baseline's was 0.86: a drop of 0.153, threshold 0.1",
        "<!date^1780308000^{date_short_pretty} {time}|2026-06-01 10:00 UTC>",
        "distance (ks 0.31, critical 0.021)",
        "▇▆▅▄",
        "0.6919 to 0.872 over 23h 30m",
        "|Dashboard>",
        "|Runbook>",
        "|Silence>",
        "*Firing now*\\n1",
        "01JWPM3Z0000000000000000A1",
    ):
        assert part in shown, part
    assert post.text.startswith("🔴 Critical: flight_delay v3: f1 dropped by 0.153\nf1 is 0.707")


def test_recovered_and_no_data_do_not_look_alike():
    """A resolved alert shows the current value; one that ended without data says so in sign and word."""
    (recovered,), (silent,) = posts(examples.resolved()), posts(examples.no_data())
    assert "✅ Recovered" in recovered.text
    assert "f1 is 0.851 now" in texts(recovered)
    assert "0.153" not in texts(recovered)
    assert "⚪ No data" in silent.text
    assert "insufficient_labels" in texts(silent)
    assert "✅" not in texts(silent)


def test_forty_columns_are_a_line_each():
    """A message of many alerts tells of each in one line, most of them in one section."""
    made = posts(examples.column_drift(40))
    shown = "".join(texts(post) for post in made)
    assert all(f"feature_{i:02d}: ks is" in shown for i in range(40))
    assert len(made) == 1
    assert len(made[0].blocks) <= 8


@pytest.mark.parametrize("count", [2, 12])
def test_alerts_name_their_subject_where_the_value_does_not(count):
    """When nothing is known but the alert's own value, its column is told all the same, in every form."""
    message = examples.column_drift(count)
    views = tuple(
        replace(view, what="2.6 times the critical value", description="") for view in message.views
    )
    message = replace(message, views=views)
    (post,) = posts(message)
    assert all(f"column *feature_{i:02d}*" in texts(post) for i in range(count))
    assert "column=feature_00: 2.6 times" in post.text
    assert "MLColumnDrift column=feature_01 (warning, firing): 2.6 times" in plain_post(message).text


def test_alerts_of_several_models_name_theirs():
    """Where a message has no model of its own, each alert has."""
    message = replace(examples.column_drift(2), model="", version="")
    (post,) = posts(message)
    assert texts(post).count("model *flight_delay*") == 2


def test_splitting_keeps_alerts_whole():
    """Every alert is in exactly one post, whole, and posts are numbered."""
    message = long_drift()
    made = posts(message)
    assert_taken(made)
    assert len(made) > 1
    for view in message.views:
        assert sum(mrkdwn.escape(view.what) in texts(post).replace("\\n", "\n") for post in made) == 1
    assert [post.blocks[0]["text"]["text"][-5:] for post in made] == [
        f"({i + 1}/{len(made)})" for i in range(len(made))
    ]
    assert [post.until for post in made] == sorted({post.until for post in made})
    assert made[-1].until == 40


def test_hostile_texts_mention_nobody_and_link_nowhere():
    """Labels that imitate Slack's commands are shown as text; only http links remain."""
    made = posts(examples.hostile())
    assert_taken(made)
    shown = "".join(texts(post) for post in made)
    assert "<!channel>" not in shown.replace("plain_text", "").split('"emoji"')[1]
    assert "<@U012AB3CD>" not in shown.split('"emoji"')[1]
    assert "javascript:" not in shown
    assert "\u202e" not in shown
    assert FAILURES == []


def test_every_text_in_blocks_is_verbatim():
    """Slack looks for no names, addresses or mentions in what we write."""

    def marked(value):
        if isinstance(value, dict):
            if value.get("type") == "mrkdwn":
                yield value
            for inner in value.values():
                yield from marked(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                yield from marked(inner)

    for example in (examples.performance_drop(), examples.hostile(), examples.column_drift(7)):
        for post in posts(example):
            assert all(text["verbatim"] is True for text in marked(post.blocks))


def test_links_are_texts_not_buttons():
    """A button would make Slack call back an address that the bridge does not have."""
    (post,) = posts(examples.performance_drop())
    assert not [block for block in post.blocks if block["type"] == "actions"]


def test_up_to_five_alerts_have_their_own_links():
    """Where alerts lead to different pages, each names its own."""
    message = examples.column_drift(3)
    views = tuple(
        replace(view, links={"dashboard": f"http://g.example/d/{i}"}) for i, view in enumerate(message.views)
    )
    (post,) = posts(replace(message, views=views))
    assert all(f"<http://g.example/d/{i}|Dashboard>" in texts(post) for i in range(3))
    assert texts(post).count("|Runbook>") == 1


def test_the_heading_names_severity_once():
    """The title may begin with the word already."""
    message = replace(examples.resolved(), title="Resolved: f1")
    assert posts(message)[0].blocks[0]["text"]["text"] == "✅ Resolved: f1"
    message = replace(examples.performance_drop(), title="[critical] Firing: f1")
    assert posts(message)[0].blocks[0]["text"]["text"] == "🔴 [critical] Firing: f1"


def test_omitted_alerts_are_counted():
    """What the notification left out is said."""
    message = examples.column_drift(6)
    message = replace(message, notification=replace(message.notification, omitted=1234))
    assert "1,234 more alerts are not listed" in texts(posts(message)[0])


def test_a_long_title_is_cut_to_the_header():
    """A header takes 150 characters, pairs of surrogates counted as two, never cut in half."""
    (post,) = posts(replace(examples.performance_drop(), title="😀" * 150))
    header = post.blocks[0]["text"]["text"]
    assert units(header) <= 150
    assert header.endswith("…")


def test_a_template_that_writes_nothing_still_tells_of_the_alert():
    """The summary stands in for an empty text."""
    (post,) = posts_of(examples.performance_drop(), lambda *_: " \n ")
    assert "Performance of flight" in texts(post)


def test_plain_form_is_text_without_markup():
    """The plain form has no blocks, and Slack is told to format nothing."""
    body = plain_post(examples.performance_drop()).body()
    assert "blocks" not in body
    assert body["mrkdwn"] is False
    assert "MLPerformanceDrop (critical, firing): f1 is 0.707" in body["text"]
    assert "since 2026-06-01 10:00 UTC" in body["text"]


def test_plain_form_counts_what_does_not_fit():
    """A hundred alerts are one text that says how many are missing."""
    message = examples.column_drift(100)
    post = plain_post(message)
    assert problems_of(post.body()) == []
    assert "... and " in post.text


@pytest.mark.parametrize(
    ("url", "made"),
    [
        ("https://a.example/x?y=1&z=2", "<https://a.example/x?y=1&amp;z=2|Go>"),
        ("https://a.example/a b|c>d", "<https://a.example/a%20b%7Cc%3Ed|Go>"),
        ("javascript:alert(1)", ""),
        ("http://", ""),
        ("http://[bad", ""),
        ("https://a.example/\nx", ""),
        ("https://a.example/" + "x" * 3000, ""),
        ("", ""),
    ],
)
def test_only_addresses_of_the_web_become_links(url, made):
    """Nothing in an address ends the link or names another scheme."""
    assert mrkdwn.link(url, "Go") == made


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, -1.0, 1e18, None])
def test_times_outside_of_the_calendar_are_left_out(seconds):
    """A date that Slack can't show is no date."""
    assert mrkdwn.date(seconds) == ""


ANY_TEXT = st.text(
    alphabet=st.one_of(
        st.characters(),
        st.sampled_from("<>&`*_~|@!#^\n\r\t\u202e\u200b\ud83d\ude00\x00 "),
        st.sampled_from("abc"),
    ),
    max_size=80,
).flatmap(lambda text: st.sampled_from([text, text * 7, text * 60, f"<!channel>{text}", f"@here {text}"]))
ANY_NUMBER = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@st.composite
def any_message(draw):
    """An example in which every text and number may be anything."""
    count = draw(st.sampled_from([1, 2, 3, 6, 30]))
    base = examples.column_drift(count)
    words = draw(st.lists(ANY_TEXT, min_size=6, max_size=6))
    facts = Facts(
        measure=words[0],
        current=draw(ANY_NUMBER),
        threshold=draw(ANY_NUMBER),
        lower=draw(ANY_NUMBER),
        upper=draw(ANY_NUMBER),
        rows=draw(st.one_of(st.none(), st.integers(-5, 10**12))),
        undefined=words[1],
        history=tuple((float(i), draw(st.floats())) for i in range(draw(st.integers(0, 4)))),
        worst_columns=(WorstColumn(words[2], draw(st.floats()), draw(st.floats()), words[3]),) * 3,
    )
    views = tuple(
        replace(
            view,
            alert=replace(view.alert, labels={**view.alert.labels, "model": words[4], "alertname": words[5]}),
            change=draw(st.sampled_from(Change)),
            summary=words[i % 6],
            description=words[(i + 1) % 6],
            what=words[(i + 2) % 6],
            ending=draw(st.sampled_from(["", "recovered", "no data"])),
            facts=facts,
            links={"dashboard": words[(i + 3) % 6], "runbook": f"http://r.example/{words[(i + 4) % 6]}"},
        )
        for i, view in enumerate(base.views)
    )
    notification = replace(base.notification, kind=draw(st.sampled_from(Kind)), text=words[0])
    return replace(
        base,
        views=views,
        notification=notification,
        title=draw(ANY_TEXT),
        model=words[4],
        version=words[1],
        severity=draw(st.sampled_from(Severity)),
        status=draw(st.sampled_from(["firing", "resolved"])),
        links={"dashboard": f"https://g.example/{words[5]}"},
    )


@given(any_message())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text_makes_blocks_that_slack_takes(message):
    """Whatever labels, annotations and numbers are: valid blocks within the limits, every alert told of."""
    made = posts(message)
    assert_taken([*made, plain_post(message)])
    assert made[-1].until == len(message.views)
    assert all(size_of(post.blocks) <= 13_200 for post in made)
    assert FAILURES == []


@given(ANY_TEXT, st.integers(3, 50))
@settings(max_examples=200, deadline=None)
def test_cutting_halves_nothing(text, limit):
    """What is cut fits, and ends with neither half an entity, link nor surrogate pair."""
    marked = f"{mrkdwn.escape(text)} {mrkdwn.link('http://a.example', 'x')} {mrkdwn.code(text)}"
    short = mrkdwn.cut(marked, limit)
    assert units(short) <= limit
    if short.strip():
        assert problems_of({"text": short}) == []


@given(ANY_TEXT)
@settings(max_examples=200, deadline=None)
def test_escaped_text_holds_no_markup(text):
    """Nothing that Slack acts upon is left."""
    made = mrkdwn.escape(text)
    assert not set(made) & set("<>`")
    assert "@here" not in made.lower()
