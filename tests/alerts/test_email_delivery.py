"""Emails through a real mail server: TLS, login, refusals of all kinds, broken connections."""

from __future__ import annotations

import base64
import re
import time
from datetime import UTC, datetime

import pytest

from exporter.alerts.channels import email as channel_module
from exporter.alerts.channels.email import EmailChannel, connection
from exporter.alerts.composing.templates import Templates
from exporter.alerts.config import EmailSettings, parse_bridge_config
from exporter.errors import ConfigurationError, PermanentDeliveryError, TemporaryDeliveryError
from tests.alerts.examples import column_drift, delivery, hostile, performance_drop, resolved
from tests.alerts.mail_server import DROP, MailServer, make_certificate, talking

PASSWORD = "s3cret-wörd!"  # beyond ASCII, as passwords may be


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificates"), "127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def other_certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificates"), "mail.example.org")


@pytest.fixture
def templates():
    failures: list[str] = []
    yield Templates(None, on_failure=failures.append)
    assert failures == []


@pytest.fixture
def open_channel(templates):
    """Give a function (server or port, **settings) -> EmailChannel; all are closed at the end."""
    opened = []

    def make(server, **changes):
        certificate = getattr(server, "certificate", None)
        given = {
            "smtp_server": "127.0.0.1",
            "smtp_port": getattr(server, "port", server),
            "from": "ML alerts <ml@example.org>",
            "to": ["team@example.org"],
            "timeout": "5s",
            **({"ca_file": certificate.path} if certificate else {}),
            **changes,
        }
        channel = EmailChannel(
            EmailSettings.model_validate(given), name="mail", templates=templates, timezone="UTC"
        )
        opened.append(channel)
        return channel

    yield make
    for channel in opened:
        channel.close()


def send(channel, message=None, **changes):
    message = message or performance_drop()
    return channel.send(message, delivery(message, channel="mail", **changes))


# -- TLS and login ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "setting"), [("starttls", "starttls"), ("starttls", None), ("implicit", "implicit")]
)
def test_email_is_sent_encrypted_and_logged_in(certificate, open_channel, offered, setting):
    """STARTTLS and implicit TLS with a verified certificate; the password is said only inside."""
    with MailServer(tls=offered, certificate=certificate, login=("ml", PASSWORD)) as server:
        receipt = send(open_channel(server, tls=setting, username="ml", password=PASSWORD))
    (got,) = server.received
    assert got.encrypted
    assert got.login == "ml"
    assert (got.sender, got.recipients) == ("ml@example.org", ("team@example.org",))
    assert receipt.detail == "1 recipient, the server said: 2.0.0 queued as 4F7"
    assert not receipt.plain
    commands = [command.split()[0] for command in server.commands]
    assert commands.index("AUTH") > (commands.index("STARTTLS") if offered == "starttls" else 0)


def test_login_falls_back_to_what_is_offered(certificate, open_channel):
    """LOGIN where PLAIN is not there."""
    with MailServer(certificate=certificate, login=("ml", PASSWORD), mechanisms=("LOGIN",)) as server:
        send(open_channel(server, username="ml", password=PASSWORD))
    assert server.received[0].login == "ml"
    assert any(command.startswith("AUTH LOGIN") for command in server.commands)


def test_starttls_is_demanded(open_channel):
    """`tls: starttls` sends nothing to a server without it: it may have been cut out on the way."""
    with (
        MailServer(tls="none") as server,
        pytest.raises(
            TemporaryDeliveryError, match="does not offer STARTTLS, which `tls: starttls`"
        ) as found,
    ):
        send(open_channel(server, tls="starttls"))
    assert found.value.whole_channel
    assert not any(command.startswith("MAIL") for command in server.commands)


def test_refused_starttls_is_no_reason_to_go_on_in_the_clear(certificate, open_channel):
    """A server that offers STARTTLS and then refuses it gets nothing."""
    with MailServer(certificate=certificate) as server:
        server.will("STARTTLS", "454 4.7.0 TLS not available")
        with pytest.raises(TemporaryDeliveryError, match="refused STARTTLS: 454"):
            send(open_channel(server))
    assert not any(command.startswith("MAIL") for command in server.commands)


@pytest.mark.parametrize("setting", ["starttls", None, "implicit"])
def test_certificate_of_another_name_is_refused(other_certificate, open_channel, setting):
    """Trust is not enough, the name must be the server's."""
    offered = "implicit" if setting == "implicit" else "starttls"
    with (
        MailServer(tls=offered, certificate=other_certificate) as server,
        pytest.raises(TemporaryDeliveryError, match=r"certificate is not trusted.*mismatch") as found,
    ):
        send(open_channel(server, tls=setting))
    assert found.value.whole_channel
    assert not found.value.uncertain
    assert server.received == []


def test_tls_with_a_server_that_speaks_none_is_told(open_channel):
    """`tls: implicit` at the port of STARTTLS is the usual mistake."""
    with (
        MailServer(tls="none") as server,
        pytest.raises(TemporaryDeliveryError, match="could not be reached: TLS failed") as found,
    ):
        send(open_channel(server, tls="implicit"))
    assert found.value.whole_channel


def test_certificate_of_an_unknown_authority_is_refused(certificate, open_channel):
    """Without `ca_file` only public authorities count."""
    with (
        MailServer(certificate=certificate) as server,
        pytest.raises(TemporaryDeliveryError, match="certificate is not trusted"),
    ):
        send(open_channel(server, ca_file=None))
    assert server.received == []


def test_missing_ca_file_is_named(certificate, open_channel, tmp_path):
    """A wrong path is told of, and nothing is sent."""
    with (
        MailServer(certificate=certificate) as server,
        pytest.raises(TemporaryDeliveryError, match=r"ca_file: expected certificates in .*nowhere\.pem"),
    ):
        send(open_channel(server, ca_file=tmp_path / "nowhere.pem"))


def test_without_a_setting_the_clear_is_used_beside_port_25_only(open_channel, monkeypatch):
    """`tls` left out: a relay that offers nothing gets the message, but not on the port of mail servers."""
    with MailServer(tls="none") as server:
        send(open_channel(server))
        assert not server.received[0].encrypted
        monkeypatch.setattr(connection, "_PLAIN_PORT", server.port)
        with pytest.raises(
            TemporaryDeliveryError, match="port 25 is used in the clear with `tls: none` only"
        ):
            send(open_channel(server))
        send(open_channel(server, tls="none"))
    assert len(server.received) == 2


@pytest.mark.parametrize("setting", ["starttls", None])
def test_password_is_never_sent_in_the_clear(open_channel, setting):
    """A server that offers a login without TLS does not hear the password."""
    with (
        MailServer(tls="none", login=("ml", PASSWORD), login_needs_tls=False) as server,
        pytest.raises(TemporaryDeliveryError) as found,
    ):
        send(open_channel(server, tls=setting, username="ml", password=PASSWORD))
    assert found.value.whole_channel
    assert PASSWORD not in str(found.value)
    assert not any(command.startswith(("AUTH", "MAIL")) for command in server.commands)


def test_clear_login_is_left_to_this_machine(open_channel, monkeypatch):
    """`tls: none` with a password works with a relay on the loopback, and nowhere else."""
    with MailServer(tls="none", login=("ml", PASSWORD), login_needs_tls=False) as server:
        send(open_channel(server, tls="none", username="ml", password=PASSWORD))
        assert server.received[0].login == "ml"
        monkeypatch.setattr(connection, "is_loopback", lambda _: False)
        with pytest.raises(TemporaryDeliveryError, match="offers no login that can be used without TLS"):
            send(open_channel(server, tls="none", username="ml", password=PASSWORD))
    assert sum(command.startswith("AUTH") for command in server.commands) == 1


def test_challenge_is_answered_where_the_password_may_not_be_sent(open_channel, monkeypatch):
    """CRAM-MD5 proves the password without saying it (the example is that of RFC 2195)."""

    def script(plain):
        lines = plain.makefile("rb")
        plain.sendall(b"220 hello\r\n")
        lines.readline()
        plain.sendall(b"250-mx\r\n250 AUTH PLAIN CRAM-MD5\r\n")
        heard.append(lines.readline())
        plain.sendall(b"334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n")
        heard.append(lines.readline())
        plain.sendall(b"235 welcome\r\n")

    heard: list[bytes] = []
    monkeypatch.setattr(connection, "is_loopback", lambda _: False)
    with talking(script) as port, pytest.raises(TemporaryDeliveryError):
        send(open_channel(port, tls="none", username="tim", password="tanstaaftanstaaf"))
    assert heard[0] == b"AUTH CRAM-MD5\r\n"
    assert base64.b64decode(heard[1]) == b"tim b913a602c7eda7a495b4e6e7334d3890"


def test_refused_login_waits_long_and_names_no_secret(certificate, open_channel):
    """A wrong password is tried again after minutes, so that nobody is locked out."""
    with (
        MailServer(certificate=certificate, login=("ml", PASSWORD)) as server,
        pytest.raises(TemporaryDeliveryError, match="refused the login of ml: 535") as found,
    ):
        send(open_channel(server, username="ml", password="wrong-one"))
    assert found.value.retry_after_seconds == 600
    assert found.value.whole_channel
    assert "wrong-one" not in str(found.value)


def test_server_that_repeats_the_password_is_not_quoted(certificate, open_channel):
    """Whatever a server says about the login, no form of the password reaches an error."""
    forms = [PASSWORD, f"\0ml\0{PASSWORD}", "ml"]
    encoded = [base64.b64encode(form.encode()).decode() for form in forms]
    with MailServer(certificate=certificate, login=("ml", PASSWORD), utf8=True) as server:
        server.will("AUTH", f"535 no: {PASSWORD} {encoded[0]} {encoded[1]} {encoded[1].rstrip('=')}")
        with pytest.raises(TemporaryDeliveryError) as found:
            send(open_channel(server, username="ml", password=PASSWORD))
    told = str(found.value)
    assert PASSWORD not in told
    assert not any(form.rstrip("=") in told for form in encoded[:2])
    assert "[secret]" in told
    assert PASSWORD not in repr(found.value.__cause__)


def test_missing_login_is_a_matter_of_the_channel(certificate, open_channel):
    """530 at any command: the message is not to blame, and waits."""
    with MailServer(certificate=certificate) as server:
        server.will("MAIL", "530 5.7.0 Authentication required")
        with pytest.raises(TemporaryDeliveryError, match="530") as found:
            send(open_channel(server))
    assert found.value.whole_channel
    assert found.value.retry_after_seconds == 600


# -- refusals -----------------------------------------------------------------------------------------


def test_one_refused_recipient_does_not_keep_the_others_from_it(certificate, open_channel):
    """Delivered to who is accepted, and the receipt names who is not."""
    with MailServer(certificate=certificate) as server:
        server.refused["gone@example.org"] = "550 5.1.1 no such user"
        channel = open_channel(server, to=["team@example.org", "gone@example.org"], cc="boss@example.org")
        receipt = send(channel)
    assert server.received[0].recipients == ("team@example.org", "boss@example.org")
    assert receipt.detail == (
        "2 of 3 recipients, refused: gone@example.org (550 5.1.1 no such user), "
        "the server said: 2.0.0 queued as 4F7"
    )


def test_recipient_refused_for_now_is_tried_again_alone(certificate, open_channel):
    """Who has got the message does not get it again while the others are waited for."""
    with MailServer(certificate=certificate) as server:
        server.refused["slow@example.org"] = "450 4.2.0 greylisted, try again in 300 seconds"
        channel = open_channel(server, to=["team@example.org", "slow@example.org"])
        message = performance_drop()
        with pytest.raises(
            TemporaryDeliveryError, match=r"1 of 2 recipients got it.*slow@example\.org"
        ) as found:
            send(channel, message)
        assert found.value.retry_after_seconds == 300
        assert found.value.partial
        assert not found.value.uncertain
        server.refused.clear()
        receipt = send(channel, message, attempt=2)
    assert [got.recipients for got in server.received] == [("team@example.org",), ("slow@example.org",)]
    ids = [got.email["Message-ID"] for got in server.received]
    assert ids[0] == ids[1]
    assert receipt.detail.startswith("2 recipients")


def test_recipient_refused_for_long_does_not_hold_up_the_others(certificate, open_channel, monkeypatch):
    """After ten minutes it is a refusal like any other, named in the receipt."""
    monkeypatch.setattr(channel_module, "STRAGGLERS_SECONDS", 0.0)
    with MailServer(certificate=certificate) as server:
        server.refused["full@example.org"] = "452 4.2.2 mailbox full"
        receipt = send(open_channel(server, to=["team@example.org", "full@example.org"]))
    assert receipt.detail.startswith("1 of 2 recipients, refused: full@example.org (452 4.2.2 mailbox full)")


def test_all_recipients_refused_is_permanent_or_temporary_by_the_codes(certificate, open_channel):
    """As soon as one may be accepted later it is worth waiting."""
    with MailServer(certificate=certificate) as server:
        channel = open_channel(server, to=["a@example.org", "b@example.org"])
        server.refused = dict.fromkeys(("a@example.org", "b@example.org"), "550 5.1.1 no such user")
        with pytest.raises(
            PermanentDeliveryError, match=r"refused every recipient: a@example\.org"
        ) as permanent:
            send(channel)
        assert not permanent.value.plain_may_work
        server.refused["b@example.org"] = "451 4.7.1 Greylisting in action"
        with pytest.raises(TemporaryDeliveryError, match="accepts no recipient now") as temporary:
            send(channel)
        assert temporary.value.retry_after_seconds == 90
        server.refused.clear()
        send(channel)  # the connection is still good
    assert server.connections == 1


@pytest.mark.parametrize(
    ("command", "reply", "outcome"),
    [
        ("MAIL", "451 4.3.0 try later", "later"),
        ("MAIL", "550 5.7.1 you are not welcome", "never"),
        ("MAIL", "552 5.3.4 too big", "plain"),
        ("RCPT", "452 4.2.2 mailbox full", "later"),
        ("RCPT", "553 5.1.3 bad address", "never"),
        ("DATA", "451 4.3.0 no", "later"),
        ("DATA", "554 5.5.1 no", "plain"),
        (".", "451 4.7.0 come back", "later"),
        (".", "552 5.2.3 too large", "plain"),
        (".", "554 5.6.0 no pictures here", "plain"),
    ],
)
def test_reply_decides_what_happens_next(certificate, open_channel, command, reply, outcome):
    """4xx is tried again, 5xx is not; where the content was refused the plain form may pass."""
    with MailServer(certificate=certificate) as server:
        server.will(command, reply)
        channel = open_channel(server)
        expected = TemporaryDeliveryError if outcome == "later" else PermanentDeliveryError
        with pytest.raises(expected, match=re.escape(reply)) as found:
            send(channel)
        assert not getattr(found.value, "uncertain", False)
        assert getattr(found.value, "plain_may_work", False) is (outcome == "plain")
        assert server.received == []
        send(channel)
    assert len(server.received) == 1


def test_busy_server_stops_the_whole_channel(certificate, open_channel):
    """421 speaks of the server, at any command."""
    for command in ("EHLO", "MAIL", "RCPT"):
        with MailServer(certificate=certificate) as server:
            server.will(command, "421 4.3.2 shutting down")
            if command == "EHLO":
                server.will("HELO", "421 4.3.2 shutting down")
            with pytest.raises(TemporaryDeliveryError, match="421") as found:
                send(open_channel(server))
        assert found.value.whole_channel


# -- broken connections -------------------------------------------------------------------------------


def test_connection_that_breaks_after_the_message_leaves_it_uncertain(certificate, open_channel):
    """It may have arrived: the next attempt carries the same id, so that clients drop one."""
    with MailServer(certificate=certificate) as server:
        server.will(".", "drop after keeping")
        channel = open_channel(server)
        message = performance_drop()
        with pytest.raises(TemporaryDeliveryError, match="it may have arrived") as found:
            send(channel, message)
        assert found.value.uncertain
        assert not found.value.whole_channel
        send(channel, message, attempt=2, uncertain=True)
    first, second = server.received
    assert first.email["Message-ID"] == second.email["Message-ID"]
    assert first.content == second.content


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
def test_connection_that_breaks_before_the_message_is_certain(certificate, open_channel, command):
    """Nothing can have arrived."""
    with MailServer(certificate=certificate) as server:
        server.will(command, DROP)
        channel = open_channel(server)
        with pytest.raises(TemporaryDeliveryError, match="broke half-way") as found:
            send(channel)
        assert not found.value.uncertain
        send(channel)
    assert len(server.received) == 1


def test_nobody_listens(open_channel, free_port):
    """A refused connection is the channel's, not the message's."""
    with pytest.raises(TemporaryDeliveryError, match="could not be reached: Connection refused") as found:
        send(open_channel(free_port()))
    assert found.value.whole_channel


def test_unknown_host(open_channel):
    """A name without an address is said to be one."""
    with pytest.raises(TemporaryDeliveryError, match="there is no address for this name"):
        send(open_channel(25, smtp_server="mail.invalid"))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"220-" + b"x" * 100_000,
        b"220-more\r\n" * 5000,
        b"\x16\x03\x01\x00\x05hello\n",
        b"554 5.7.1 go away\r\n",
    ],
)
def test_peers_that_are_no_mail_server(open_channel, said):
    """Silence, other protocols and endless answers end in one sentence, soon."""

    def script(connection):
        connection.sendall(said)
        if not said:
            connection.recv(1)

    started = time.monotonic()
    with talking(script) as port, pytest.raises(TemporaryDeliveryError) as found:
        send(open_channel(port, timeout="500ms"))
    assert time.monotonic() - started < 5
    assert found.value.whole_channel
    assert len(str(found.value)) < 400


def test_silent_server_is_left_after_the_timeout(open_channel):
    """One attempt takes as long as `timeout` for each answer, not more."""

    def script(connection):
        connection.sendall(b"220 hello\r\n")
        for _ in range(100):
            connection.sendall(b"250-one more line\r\n")
            time.sleep(0.05)

    started = time.monotonic()
    with talking(script) as port, pytest.raises(TemporaryDeliveryError, match=r"no answer within 0\.3 s"):
        send(open_channel(port, timeout="300ms"))
    assert time.monotonic() - started < 3


def test_answers_pushed_before_tls_are_forgotten(certificate, open_channel):
    """Who sits between us cannot slip capabilities in before encryption begins (CVE-2011-0411)."""

    def script(plain):
        plain.sendall(b"220 hello\r\n")
        plain.recv(1000)
        plain.sendall(b"250-mx\r\n250 STARTTLS\r\n")
        plain.recv(1000)
        plain.sendall(b"220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n")
        with certificate.context.wrap_socket(plain, server_side=True) as inside:
            inside.recv(1000)
            inside.sendall(b"250 mx\r\n")
            heard.append(inside.recv(1000))

    heard: list[bytes] = []
    with talking(script) as port, pytest.raises(TemporaryDeliveryError):
        send(open_channel(port, username="ml", password=PASSWORD, ca_file=certificate.path))
    assert not any(b"AUTH" in said for said in heard)


# -- connections that are kept ------------------------------------------------------------------------


def test_connection_is_used_again_while_it_is_fresh(certificate, open_channel):
    """One login for several messages."""
    with MailServer(certificate=certificate, login=("ml", PASSWORD)) as server:
        channel = open_channel(server, username="ml", password=PASSWORD)
        for message in (performance_drop(), resolved(), column_drift(3)):
            send(channel, message)
    assert server.connections == 1
    assert len(server.received) == 3


def test_closed_connection_is_opened_again(certificate, open_channel):
    """A server that closed what rested is no failure."""
    with MailServer(certificate=certificate) as server:
        channel = open_channel(server)
        send(channel)
        server.disconnect()
        send(channel)
        assert server.connections == 2
    assert len(server.received) == 2


def test_rested_connection_is_not_trusted(certificate, open_channel, monkeypatch):
    """After half a minute a new one is made."""
    monkeypatch.setattr(channel_module, "FRESH_SECONDS", 0.0)
    with MailServer(certificate=certificate) as server:
        channel = open_channel(server)
        send(channel)
        send(channel)
        assert server.connections == 2
    assert "QUIT" in server.commands


def test_close_says_goodbye(certificate, open_channel):
    """Closing twice is fine, and the channel can be used again."""
    with MailServer(certificate=certificate) as server:
        channel = open_channel(server)
        channel.close()
        send(channel)
        channel.close()
        channel.close()
        assert server.commands[-1] == "QUIT"
        send(channel)
    assert len(server.received) == 2


# -- forms and addresses ------------------------------------------------------------------------------


def test_small_servers_get_a_smaller_form(certificate, open_channel):
    """The stated limit takes away the pictures first, then the HTML, then it is too small."""
    kinds = []
    for size in (100_000, 25_000, 5000, 500):
        with MailServer(certificate=certificate, size=size) as server:
            channel = open_channel(server)
            if size == 500:
                with pytest.raises(PermanentDeliveryError, match="at most 500 bytes") as found:
                    send(channel)
                assert not found.value.plain_may_work
                continue
            receipt = send(channel)
            (got,) = server.received
            assert len(got.content) <= size
            kinds.append((got.email.get_content_type(), receipt.plain))
    assert kinds == [("multipart/related", False), ("multipart/alternative", False), ("text/plain", True)]


def test_plain_form_is_text_only(certificate, open_channel):
    """What was refused once goes without template, HTML and picture."""
    with MailServer(certificate=certificate) as server:
        receipt = send(open_channel(server), hostile(), plain=True)
    assert receipt.plain
    assert server.received[0].email.get_content_type() == "text/plain"


def test_addresses_beyond_ascii(certificate, open_channel):
    """Domains travel as IDNA, local parts with SMTPUTF8."""
    with MailServer(certificate=certificate) as server:
        send(open_channel(server, to=["Jörg <jörg@bücher.example>", "team@example.org"]))
    (got,) = server.received
    assert got.recipients == ("jörg@xn--bcher-kva.example", "team@example.org")
    assert str(got.email["To"]) == "Jörg <jörg@xn--bcher-kva.example>, team@example.org"
    assert any("BODY=8BITMIME SMTPUTF8" in command for command in server.commands)


def test_sender_beyond_ascii(certificate, open_channel):
    """It needs SMTPUTF8 too; without it nobody gets anything, and the reason is told."""
    with MailServer(certificate=certificate) as server:
        send(open_channel(server, **{"from": "Übersicht <übersicht@example.org>"}))
        assert server.received[0].sender == "übersicht@example.org"
    with (
        MailServer(certificate=certificate, utf8=False) as server,
        pytest.raises(PermanentDeliveryError, match=r"übersicht@example\.org.*SMTPUTF8"),
    ):
        send(open_channel(server, **{"from": "übersicht@example.org"}))
    assert server.received == []


def test_address_beyond_ascii_without_smtputf8_is_refused_alone(certificate, open_channel):
    """The others get the message."""
    with MailServer(certificate=certificate, utf8=False) as server:
        receipt = send(open_channel(server, to=["jörg@example.org", "team@example.org"]))
        with pytest.raises(PermanentDeliveryError, match="SMTPUTF8"):
            send(open_channel(server, to=["jörg@example.org"]))
    assert server.received[0].recipients == ("team@example.org",)
    assert "jörg@example.org (553 the server does not know SMTPUTF8" in receipt.detail


@pytest.mark.parametrize("where", ["from", "to", "cc"])
@pytest.mark.parametrize(
    "address", ["nobody", "a@b@c", "a@example.org\r\nBcc: evil@example.org", "<a@>", "a@ex ample.org"]
)
def test_wrong_addresses_are_found_in_the_configuration(where, address):
    """The error names the setting, before anything is sent."""
    mail = {"type": "email", "smtp_server": "mx", "from": "a@example.org", "to": ["b@example.org"]}
    with pytest.raises(ConfigurationError) as found:
        parse_bridge_config({"channels": {"mail": mail | {where: address}}})
    ((path, told),) = found.value.problems
    assert path.startswith(f"channels.mail.{where}")
    assert told.startswith("expected an address such as team@example.org, got")


def test_thread_is_kept_from_receipt_to_receipt(certificate, open_channel):
    """All messages of an incident refer to one root, also on the next day."""
    with MailServer(certificate=certificate) as server:
        channel = open_channel(server)
        first = send(channel)
        second = send(channel, resolved(), thread=first.thread)
    roots = [got.email["References"] for got in server.received]
    assert roots[0] == roots[1] == first.thread["root"] == second.thread["root"]
    assert len({got.email["Message-ID"] for got in server.received}) == 2


def test_lines_with_dots_arrive_as_they_were(certificate, open_channel):
    """A line that is one dot does not end the message."""
    with MailServer(certificate=certificate) as server:
        message = hostile("first\n.\n..\n.hidden\nMAIL FROM:<evil@example.org>\n")
        send(open_channel(server), message, plain=True)
        assert len(server.received) == 1
    assert sum(command.startswith("MAIL") for command in server.commands) == 1
    assert all(len(line) <= 998 for line in server.received[0].content.split(b"\r\n"))


def test_date_is_when_the_message_was_made(certificate, open_channel):
    """In UTC, whatever the machine's zone."""
    with MailServer(certificate=certificate) as server:
        send(open_channel(server))
    assert server.received[0].email["Date"].datetime == datetime(2026, 6, 1, 12, tzinfo=UTC)
