"""Which hosts and which pages may ask."""

from __future__ import annotations

import pytest

from exporter.errors import ExporterError
from exporter.web.origins import Origins, is_loopback

LOCAL = Origins.of("127.0.0.1")
PUBLIC = Origins.of("0.0.0.0", ["https://ml.example.org/x"])


def verdict(origins, method, host, origin=None, site=None, *, anonymous=True):
    try:
        origins.check(method, host, origin, site, anonymous=anonymous)
    except ExporterError as error:
        return error.code
    return "ok"


@pytest.mark.parametrize("host", ["127.0.0.1:10090", "localhost", "[::1]:10090", "a.localhost:1", "10.0.0.7"])
def test_own_names_are_answered(host):
    """Loopback names and addresses are this machine's."""
    assert verdict(LOCAL, "GET", host) == "ok"
    assert verdict(LOCAL, "POST", host, f"http://{host}") == "ok"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:10090", "localhost.evil.example"])
def test_rebound_names_are_refused_without_authentication(host):
    """A page whose name was pointed at this machine learns and changes nothing."""
    assert verdict(LOCAL, "GET", host) == "host_not_allowed"
    assert verdict(LOCAL, "POST", host, f"http://{host}") == "host_not_allowed"
    assert verdict(PUBLIC, "POST", host, f"http://{host}") == "host_not_allowed"
    assert verdict(LOCAL, "GET", host, anonymous=False) == "ok"


@pytest.mark.parametrize("host", [None, "", "a b", "a/b", "a:b", "user@host", "[::1", "x" * 300])
def test_odd_hosts_are_bad_requests(host):
    """A request without a usable Host is 400, whoever asks."""
    assert verdict(PUBLIC, "GET", host, anonymous=False) == "bad_host"


def test_other_sites_change_nothing():
    """A browser's state-changing request counts only from the server's own pages."""
    host = "ml.example.org"
    assert verdict(PUBLIC, "POST", host, "https://ml.example.org") == "ok"
    for origin in ("https://evil.example", "null", "https://ml.example.org:8443", ""):
        assert verdict(PUBLIC, "DELETE", host, origin, anonymous=False) == "cross_site"
    assert verdict(PUBLIC, "POST", host, site="cross-site", anonymous=False) == "cross_site"
    assert verdict(PUBLIC, "POST", host, site="same-origin") == "ok"
    assert verdict(PUBLIC, "POST", "exporter.ml.svc:10090") == "ok"


def test_server_refuses_other_hosts_and_sites(web):
    """The checks hold for every route, unknown ones included."""
    assert web.ask("GET", "/metrics", headers={"Host": "evil.example"}).status_code == 403
    refused = web.push([], Origin="https://evil.example")
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "cross_site"


def test_loopback_addresses():
    """What only this machine reaches."""
    assert all(map(is_loopback, ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "192.168.0.1", "example.org"]))
