"""A bot's deliveries against a service that behaves like Slack: threads, updates, faults, recognition."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from pydantic import SecretStr

from exporter.alerts.channels.slack import SlackChannel, transport
from exporter.alerts.composing.templates import Templates
from exporter.alerts.config import SlackSettings
from exporter.alerts.records import Change, Kind
from exporter.errors import PermanentDeliveryError, TemporaryDeliveryError
from tests.alerts import examples
from tests.alerts.slack_peer import ALL_SCOPES, Channel, Fault, SlackPeer

TOKEN = "xoxb-secret-token"


@pytest.fixture
def peer():
    """Give a workspace with the channel C024BE91L (#alerts)."""
    made = SlackPeer()
    yield made
    made.close()


@pytest.fixture
def open_bot(peer):
    """Give a function that opens the channel of a bot; all are closed at the end."""
    opened = []

    def make(*, channel="C024BE91L", token=TOKEN, timeout=10, name="chat", spacing=0.0):
        settings = SlackSettings(
            type="slack",
            bot_token=SecretStr(token),
            channel=channel,
            api_url=peer.api_url,
            timeout=f"{timeout * 1000:.0f}ms",
        )
        templates = Templates(None, on_failure=lambda name: pytest.fail(f"{name} failed"))
        opened.append(SlackChannel(settings, name=name, templates=templates, spacing_seconds=spacing))
        return opened[-1]

    yield make
    for bot in opened:
        bot.close()


@pytest.fixture
def bot(open_bot):
    return open_bot()


def again(message, *, thread=None, uncertain=True, **changes):
    """Give the delivery of a second attempt."""
    return examples.delivery(
        message, attempt=2, uncertain=uncertain, first_tried=time.time(), thread=thread, **changes
    )


def heading(message):
    return message["blocks"][0]["text"]["text"]


def long_drift():
    message = examples.column_drift(40)
    views = tuple(replace(view, what=f"{view.what}, {'as seen ' * 40}") for view in message.views)
    return replace(message, views=views)


# -- threads and updates ------------------------------------------------------------------------------


def test_a_first_message_begins_a_thread(peer, bot):
    """The receipt names channel and message, and keeps them for the next ones of the group."""
    message = examples.performance_drop()
    receipt = bot.send(message, examples.delivery(message))
    (root,) = peer.channel.roots
    assert receipt.thread == {"channel": "C024BE91L", "ts": root["ts"]}
    assert receipt.detail == f"message {root['ts']} in C024BE91L"
    assert heading(root) == "🔴 Critical: flight_delay v3: f1 dropped by 0.153"
    assert peer.refused == []


def test_a_resolve_rewrites_the_first_message_and_is_told_in_the_thread(peer, bot):
    """The channel shows the present state at a glance; the thread holds the story."""
    drop, over = examples.performance_drop(), examples.resolved()
    thread = bot.send(drop, examples.delivery(drop)).thread
    receipt = bot.send(over, examples.delivery(over, thread=thread))
    (root,) = peer.channel.roots
    assert heading(root) == "✅ Recovered: flight_delay v3 f1 is 0.851"
    assert "what happened is in the thread" in json.dumps(root["blocks"])
    story = [reply for reply in peer.channel.replies(root["ts"]) if "blocks" in reply]
    assert [heading(reply) for reply in story] == ["✅ Recovered: flight_delay v3 f1 is 0.851"]
    assert "reply_broadcast" not in story[0]
    assert receipt.thread == thread


def test_a_new_critical_alert_in_a_thread_reaches_the_channel(peer, bot):
    """A reply reaches only who follows the thread, so an urgent one is also shown in the channel."""
    drift, drop = examples.column_drift(2), examples.performance_drop()
    thread = bot.send(drift, examples.delivery(drift)).thread
    bot.send(drop, examples.delivery(drop, thread=thread))
    (root,) = peer.channel.roots
    assert [reply.get("reply_broadcast") for reply in peer.channel.replies(root["ts"])] == [True]


def test_a_new_warning_in_a_thread_stays_there(peer, bot):
    """What is not urgent updates the first message and adds to the thread."""
    drift = examples.column_drift(2)
    more = examples.column_drift(3)
    more = replace(more, notification=replace(more.notification, id="01JWPM3Z0000000000000000H8"))
    thread = bot.send(drift, examples.delivery(drift)).thread
    bot.send(more, examples.delivery(more, thread=thread))
    (root,) = peer.channel.roots
    assert heading(root) == "🟠 Warning: flight_delay v3: 3 columns drifted"
    assert [reply.get("reply_broadcast") for reply in peer.channel.replies(root["ts"])] == [None]


def test_a_reminder_of_a_critical_alert_reaches_the_channel(peer, bot):
    """That it fires on is told again to all."""
    drop = examples.performance_drop()
    thread = bot.send(drop, examples.delivery(drop)).thread
    views = tuple(replace(view, change=Change.STILL) for view in drop.views)
    notification = replace(drop.notification, id="01JWPM3Z0000000000000000J9", kind=Kind.REMINDER)
    still = replace(drop, views=views, notification=notification)
    bot.send(still, examples.delivery(still, thread=thread))
    replies = [m for m in peer.channel.messages.values() if "thread_ts" in m]
    assert [reply.get("reply_broadcast") for reply in replies] == [True]
    assert "still firing" in json.dumps(replies[0]["blocks"])


def test_further_parts_go_into_the_thread(peer, bot):
    """A long message leaves one message in the channel."""
    message = long_drift()
    bot.send(message, examples.delivery(message))
    (root,) = peer.channel.roots
    replies = peer.channel.replies(root["ts"])
    assert len(replies) >= 1
    assert "(1/" in heading(root)
    assert peer.refused == []


def test_a_deleted_thread_begins_anew(peer, bot):
    """When somebody deletes the first message, the next notification opens a new one and says so."""
    drop, over = examples.performance_drop(), examples.resolved()
    thread = bot.send(drop, examples.delivery(drop)).thread
    del peer.channel.messages[thread["ts"]]
    receipt = bot.send(over, examples.delivery(over, thread=thread))
    (root,) = peer.channel.roots
    assert receipt.thread["ts"] == root["ts"] != thread["ts"]
    assert "the thread was deleted" in receipt.detail


def test_a_thread_that_is_deleted_between_two_calls_begins_anew(peer, bot):
    """The reply finds out too."""
    drop, over = examples.performance_drop(), examples.resolved()
    thread = bot.send(drop, examples.delivery(drop)).thread
    peer.faults.append(Fault("chat.postMessage", 200, {"ok": False, "error": "thread_not_found"}))
    receipt = bot.send(over, examples.delivery(over, thread=thread))
    assert len(peer.channel.roots) == 2
    assert receipt.thread["ts"] != thread["ts"]


def test_a_new_thread_is_recognised_where_the_old_one_was_deleted(peer, open_bot):
    """The answer of the message that began it was lost: it is found in the channel."""
    drop, over = examples.performance_drop(), examples.resolved()
    thread = open_bot().send(drop, examples.delivery(drop)).thread
    del peer.channel.messages[thread["ts"]]
    peer.faults.append(Fault("chat.postMessage", cut=True, stored=True))
    with pytest.raises(TemporaryDeliveryError):
        open_bot().send(over, examples.delivery(over, thread=thread))
    receipt = open_bot().send(over, again(over, thread=thread))
    (root,) = peer.channel.roots
    assert receipt.thread["ts"] == root["ts"]


def test_an_update_that_is_refused_does_not_lose_the_news(peer, bot):
    """A message that may not be edited any more stays as it is; the reply goes out, the receipt says why."""
    drop, over = examples.performance_drop(), examples.resolved()
    thread = bot.send(drop, examples.delivery(drop)).thread
    peer.faults.append(Fault("chat.update", 200, {"ok": False, "error": "edit_window_closed"}))
    receipt = bot.send(over, examples.delivery(over, thread=thread))
    assert "edit_window_closed" in receipt.detail
    assert len(peer.channel.messages) == 2


def test_a_failing_update_is_tried_again_before_anything_is_sent(peer, bot):
    """The update can be repeated, the reply can't: so the update comes first."""
    drop, over = examples.performance_drop(), examples.resolved()
    thread = bot.send(drop, examples.delivery(drop)).thread
    peer.faults.append(Fault("chat.update", 200, {"ok": False, "error": "internal_error"}))
    with pytest.raises(TemporaryDeliveryError):
        bot.send(over, examples.delivery(over, thread=thread))
    assert len(peer.channel.messages) == 1
    bot.send(over, again(over, thread=thread))
    assert len(peer.channel.messages) == 2


def test_test_messages_and_silence_are_delivered(peer, bot):
    """Messages without alerts are messages too."""
    for message in (examples.test_message(), examples.missing_heartbeat()):
        assert bot.send(message, examples.delivery(message)).thread
    assert [heading(root) for root in peer.channel.roots] == [
        "🧪 Test of ml-exporter",
        "🔴 Critical: No heartbeat for 15m",
    ]


# -- exactly once -------------------------------------------------------------------------------------


def test_a_message_whose_answer_was_lost_is_recognised(peer, open_bot):
    """The connection broke after Slack kept the message: another process finds it and sends nothing."""
    drop = examples.performance_drop()
    peer.faults.append(Fault("chat.postMessage", cut=True, stored=True))
    with pytest.raises(TemporaryDeliveryError) as caught:
        open_bot().send(drop, examples.delivery(drop))
    assert caught.value.uncertain
    receipt = open_bot().send(drop, again(drop))
    (root,) = peer.channel.messages.values()
    assert receipt.thread == {"channel": "C024BE91L", "ts": root["ts"]}
    assert "recognised" in receipt.detail


def test_a_message_that_did_not_arrive_is_sent(peer, open_bot):
    """The connection broke before: nothing is found, so it is sent."""
    drop = examples.performance_drop()
    peer.faults.append(Fault("chat.postMessage", cut=True))
    with pytest.raises(TemporaryDeliveryError) as caught:
        open_bot().send(drop, examples.delivery(drop))
    assert caught.value.uncertain
    open_bot().send(drop, again(drop))
    assert len(peer.channel.messages) == 1


def test_a_reply_whose_answer_was_lost_is_recognised(peer, open_bot):
    """Replies are looked for in their thread."""
    drop, over = examples.performance_drop(), examples.resolved()
    thread = open_bot().send(drop, examples.delivery(drop)).thread
    peer.faults.append(Fault("chat.postMessage", hang=0.7, stored=True))
    with pytest.raises(TemporaryDeliveryError, match="no answer within") as caught:
        open_bot(timeout=0.3).send(over, examples.delivery(over, thread=thread))
    assert caught.value.uncertain
    receipt = open_bot().send(over, again(over, thread=thread))
    assert len(peer.channel.messages) == 2
    assert receipt.thread == thread


def test_a_message_in_several_posts_goes_on_where_it_stopped(peer, open_bot):
    """After a crash between two posts another process sends only what is missing."""
    message = long_drift()
    bot = open_bot()
    whole = bot.send(message, examples.delivery(message))
    count = len(peer.channel.messages)
    assert count >= 2
    last = max(peer.channel.messages)
    del peer.channel.messages[last]
    receipt = open_bot().send(message, again(message))
    assert len(peer.channel.messages) == count
    assert receipt.thread == whole.thread


def test_throttling_between_two_posts_repeats_none(peer, bot):
    """In the same process the posts that went out are remembered; for others the error is uncertain."""
    message = long_drift()
    peer.faults.append(Fault("chat.postMessage", 429, headers={"Retry-After": "7"}, after=1))
    with pytest.raises(TemporaryDeliveryError) as caught:
        bot.send(message, examples.delivery(message))
    assert caught.value.retry_after_seconds == 7
    assert caught.value.uncertain
    bot.send(message, again(message))
    headings = [heading(kept) for kept in peer.channel.messages.values()]
    assert len(headings) == len(set(headings)) >= 2


def test_throttling_before_anything_is_not_uncertain(peer, bot):
    """Nothing has to be looked for."""
    peer.faults.append(Fault("chat.postMessage", 429, headers={"Retry-After": "7"}))
    message = long_drift()
    with pytest.raises(TemporaryDeliveryError) as caught:
        bot.send(message, examples.delivery(message))
    assert not caught.value.uncertain
    assert caught.value.whole_channel


def test_two_channels_do_not_recognise_each_others_messages(peer, open_bot):
    """The same notification goes to two configured channels that lead to one place."""
    drop = examples.performance_drop()
    open_bot(name="one").send(drop, examples.delivery(drop, channel="one"))
    open_bot(name="two").send(drop, again(drop, channel="two"))
    assert len(peer.channel.roots) == 2


def test_messages_are_looked_for_over_several_pages(peer, open_bot):
    """Much may have been said since."""
    drop = examples.performance_drop()
    open_bot().send(drop, examples.delivery(drop))
    for _ in range(30):
        ts = peer._ts()
        peer.channel.messages[ts] = {"ts": ts, "text": "chatter", "metadata": "none"}
    peer.page = 7
    open_bot().send(drop, again(drop))
    assert len(peer.channel.roots) == 31


def test_without_the_right_to_read_it_is_sent_at_least_once(peer, open_bot):
    """A bot without the scope for history can't recognise; the receipt says that it may be there twice."""
    peer.tokens[TOKEN] = ALL_SCOPES - {"channels:history"}
    drop = examples.performance_drop()
    receipt = open_bot().send(drop, again(drop))
    assert len(peer.channel.roots) == 1
    assert "perhaps sent twice: the history can't be read (missing_scope)" in receipt.detail


def test_a_channel_by_name_is_read_once_its_id_is_known(peer, open_bot):
    """By name one can post, not read: the first answer gives the id."""
    drop = examples.performance_drop()
    by_name = open_bot(channel="#alerts")
    receipt = by_name.send(drop, again(drop))
    assert "configured by name" in receipt.detail
    receipt = by_name.send(drop, again(drop))
    assert "recognised" in receipt.detail
    assert len(peer.channel.roots) == 1


def test_when_looking_fails_nothing_is_sent(peer, open_bot):
    """Better late than twice: the search is repeated first, and the delivery stays uncertain."""
    drop = examples.performance_drop()
    peer.faults.append(Fault("conversations.history", 429, b"", {"Retry-After": "12"}))
    with pytest.raises(TemporaryDeliveryError) as caught:
        open_bot().send(drop, again(drop))
    assert caught.value.uncertain
    assert caught.value.retry_after_seconds == 12
    assert peer.channel.messages == {}


# -- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("invalid_auth", "set a new bot_token"),
        ("token_revoked", "set a new bot_token"),
        ("account_inactive", "set a new bot_token"),
        ("channel_not_found", "check the channel's id"),
        ("not_in_channel", "invite the app"),
        ("is_archived", "is_archived"),
        ("missing_scope", "scopes that docs/slack.md lists"),
    ],
)
def test_what_an_operator_can_mend_concerns_the_whole_channel(peer, bot, code, advice):
    """The queue waits for a new token, an invitation or a scope; no message is thrown away for it."""
    peer.faults.append(Fault("chat.postMessage", 200, {"ok": False, "error": code, "needed": "chat:write"}))
    drop = examples.performance_drop()
    with pytest.raises(PermanentDeliveryError, match=code) as caught:
        bot.send(drop, examples.delivery(drop))
    assert caught.value.whole_channel
    assert not caught.value.plain_may_work
    assert advice in caught.value.message


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_blocks_too_long", "msg_too_long", "never_heard_of"])
def test_what_is_refused_for_its_form_may_work_plain(peer, bot, code):
    """The plain form is sent instead, in the same thread."""
    body = {"ok": False, "error": code, "response_metadata": {"messages": ["[ERROR] blocks/0 is wrong"]}}
    peer.faults.append(Fault("chat.postMessage", 200, body))
    drop = examples.performance_drop()
    with pytest.raises(PermanentDeliveryError) as caught:
        bot.send(drop, examples.delivery(drop))
    assert caught.value.plain_may_work
    assert "[ERROR] blocks/0 is wrong" in caught.value.message
    receipt = bot.send(drop, examples.delivery(drop, attempt=2, plain=True))
    (root,) = peer.channel.roots
    assert receipt.plain
    assert "blocks" not in root
    assert "f1 is 0.707" in root["text"]


def test_a_plain_resolve_rewrites_the_first_message_too(peer, bot):
    """In the plain form the first message loses its blocks and shows the text."""
    drop, over = examples.performance_drop(), examples.resolved()
    thread = bot.send(drop, examples.delivery(drop)).thread
    bot.send(over, examples.delivery(over, thread=thread, plain=True))
    root = peer.channel.messages[thread["ts"]]
    assert root["blocks"] == []
    assert root["text"].startswith("✅ Recovered")


@pytest.mark.parametrize(
    ("fault", "uncertain", "wait"),
    [
        (Fault("chat.postMessage", 429, b"", {"Retry-After": "30"}), False, 30),
        (Fault("chat.postMessage", 429, b""), False, 30),
        (
            Fault("chat.postMessage", 200, {"ok": False, "error": "ratelimited"}, {"Retry-After": "4"}),
            False,
            4,
        ),
        (Fault("chat.postMessage", 200, {"ok": False, "error": "fatal_error"}), True, None),
        (Fault("chat.postMessage", 503, b"<html>busy</html>"), True, None),
        (Fault("chat.postMessage", 200, b"<html>a proxy's page</html>"), True, None),
        (Fault("chat.postMessage", 302, b"", {"Location": "http://127.0.0.1:1/"}), False, None),
    ],
)
def test_what_passes_is_tried_again(peer, bot, fault, uncertain, wait):
    """Throttling, failures of Slack and pages of proxies are temporary, with the time that Slack asks for."""
    peer.faults.append(fault)
    drop = examples.performance_drop()
    with pytest.raises(TemporaryDeliveryError) as caught:
        bot.send(drop, examples.delivery(drop))
    assert caught.value.uncertain is uncertain
    assert caught.value.retry_after_seconds == wait
    assert TOKEN not in str(caught.value)


def test_a_redirect_does_not_carry_the_token_away(peer, bot):
    """No other host is asked, with or without the token."""
    other = SlackPeer()
    try:
        peer.faults.append(
            Fault("chat.postMessage", 307, b"", {"Location": f"{other.api_url}/chat.postMessage"})
        )
        drop = examples.performance_drop()
        with pytest.raises(TemporaryDeliveryError, match="status 307"):
            bot.send(drop, examples.delivery(drop))
        assert other.authorizations == []
    finally:
        other.close()


def test_a_token_that_is_echoed_is_not_repeated(peer, bot):
    """What the other side answers is shown without our secrets."""
    peer.faults.append(Fault("chat.postMessage", 400, f"bad token {TOKEN}".encode()))
    drop = examples.performance_drop()
    with pytest.raises(PermanentDeliveryError, match=r"bad token \*\*\*") as caught:
        bot.send(drop, examples.delivery(drop))
    assert caught.value.whole_channel
    assert TOKEN not in repr(caught.value)


def test_an_archived_channel_and_an_uninvited_bot_are_named(peer, bot):
    """As the service itself answers them."""
    drop = examples.performance_drop()
    peer.channel.archived = True
    with pytest.raises(PermanentDeliveryError, match="is_archived"):
        bot.send(drop, examples.delivery(drop))
    peer.channel.archived, peer.channel.member = False, False
    with pytest.raises(PermanentDeliveryError, match="not_in_channel"):
        bot.send(drop, examples.delivery(drop))


def test_a_revoked_token_is_mended_by_a_new_one(peer, open_bot):
    """After the operator gives a new token the same delivery goes through."""
    drop = examples.performance_drop()
    del peer.tokens[TOKEN]
    with pytest.raises(PermanentDeliveryError, match="invalid_auth"):
        open_bot().send(drop, examples.delivery(drop))
    peer.tokens["xoxb-new"] = ALL_SCOPES
    open_bot(token="xoxb-new").send(drop, examples.delivery(drop, attempt=2))
    assert len(peer.channel.roots) == 1


def test_hostile_messages_are_taken(peer, bot):
    """Nothing in labels makes Slack refuse the message."""
    message = examples.hostile()
    bot.send(message, examples.delivery(message))
    assert peer.refused == []


# -- charts -------------------------------------------------------------------------------------------


def test_a_chart_is_put_into_the_thread(peer, bot):
    """The history as a picture, uploaded beside the first message; its address gets no token."""
    drop = examples.performance_drop()
    thread = bot.send(drop, examples.delivery(drop)).thread
    (file,) = peer.files.values()
    assert file["content"].startswith(b"\x89PNG")
    assert file["thread_ts"] == thread["ts"]
    uploads = [token for method, token in peer.authorizations if method.startswith("/upload/")]
    assert uploads == [None]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("files.getUploadURLExternal", 200, {"ok": False, "error": "missing_scope"}),
        Fault(
            "files.getUploadURLExternal",
            200,
            {"ok": True, "upload_url": "file:///etc/passwd", "file_id": "F1"},
        ),
        Fault("files.completeUploadExternal", cut=True),
        Fault("files.completeUploadExternal", 500),
        Fault("/upload/F00000001", 500),
    ],
)
def test_a_chart_that_fails_does_not_fail_the_message(peer, bot, fault):
    """The message has arrived; the receipt says what is missing."""
    peer.faults.append(fault)
    drop = examples.performance_drop()
    receipt = bot.send(drop, examples.delivery(drop))
    assert "without its chart" in receipt.detail
    assert receipt.thread
    assert len(peer.channel.messages) == 1


def test_a_bot_without_the_right_to_upload_asks_once(peer, bot):
    """Two further calls for every message would be wasted."""
    peer.tokens[TOKEN] = ALL_SCOPES - {"files:write"}
    for number in ("K1", "K2"):
        drop = examples.performance_drop()
        drop = replace(drop, notification=replace(drop.notification, id=number))
        bot.send(drop, examples.delivery(drop))
    assert peer.methods().count("files.getUploadURLExternal") == 1


# -- rate ---------------------------------------------------------------------------------------------


def test_posts_keep_their_distance(peer, open_bot):
    """Slack takes a message a second for each channel; a message in several posts keeps to that by itself."""
    message = long_drift()
    bot = open_bot(spacing=0.15)
    assert open_bot().spacing_seconds == 0.0
    bot.send(message, examples.delivery(message))
    times = sorted(float(ts) for ts in peer.channel.messages)
    assert min(b - a for a, b in pairwise(times)) >= 0.12


def test_another_channel_by_its_name(peer, open_bot):
    """A channel may be given by name, with or without its sign."""
    peer.channels["C0000000002"] = Channel("C0000000002", "ml")
    drop = examples.performance_drop()
    assert open_bot(channel="ml").send(drop, examples.delivery(drop)).thread["channel"] == "C0000000002"


def test_an_attempt_whose_time_is_over_asks_nothing_more(peer, bot, monkeypatch):
    """The queue would give the delivery to another worker; what was begun is finished by the next attempt."""
    monkeypatch.setattr(transport, "ATTEMPT_SECONDS", -1.0)
    monkeypatch.setattr(transport, "ATTEMPT_TIMEOUTS", 0)
    drop = examples.performance_drop()
    with pytest.raises(TemporaryDeliveryError, match="time for one attempt is over") as caught:
        bot.send(drop, examples.delivery(drop))
    assert not caught.value.uncertain
    assert peer.calls == []
