"""Addresses as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.alerts.addresses import parse_mailboxes


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("team@example.org", "", "team@example.org"),
        ("ML alerts <ml@example.org>", "ML alerts", "ml@example.org"),
        ('"Alerts, ML" <ml+x@example.org>', "Alerts, ML", "ml+x@example.org"),
        ("root@localhost", "", "root@localhost"),
        ("ops@[127.0.0.1]", "", "ops@[127.0.0.1]"),
        ("Jörg <jörg@bücher.example>", "Jörg", "jörg@xn--bcher-kva.example"),
        ("=?utf-8?q?J=C3=B6rg?= <j@example.org>", "Jörg", "j@example.org"),
    ],
)
def test_forms_of_an_address(text, name, address):
    """With and without a name, with any script; domains are written in ASCII."""
    (box,) = parse_mailboxes(text)
    assert (box.name, box.address) == (name, address)
    assert box.international is not address.split("@")[0].isascii()


def test_several_addresses():
    """Commas separate them."""
    boxes = parse_mailboxes("a@example.org, B <b@example.org>")
    assert [box.address for box in boxes] == ["a@example.org", "b@example.org"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nobody",
        "@example.org",
        "a@",
        "a@b@c",
        "a b@example.org",
        "a@exa mple.org",
        "a@example.org\r\nRCPT TO:<evil@example.org>",
        "a@example.org\n",
        "a@example.org\0",
        "<a@example.org",
        '"a b"@example.org',
        "a@-example.org",
        f"a@{'ü' * 100}.example",
        "Team: a@example.org;,",
        "a@example.org" + " " * 20_000,
    ],
)
def test_what_is_no_address(text):
    """The error shows what came."""
    with pytest.raises(ValueError, match="expected an address such as"):
        parse_mailboxes(text)


@given(st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from('@<>,;:"\\ ()[].'), max_size=60))
def test_addresses_never_hold_what_the_protocol_means(text):
    """Whatever is accepted has no space, bracket or line end in it."""
    try:
        boxes = parse_mailboxes(text)
    except ValueError:
        return
    for box in boxes:
        assert box.domain.isascii()
        assert not set(box.address) & set(' <>\r\n\t\0,;"\\')
        assert str(box.header)
