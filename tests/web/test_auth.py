"""Who may do what: users, tokens, scopes, models; and a file that is read again."""

from __future__ import annotations

import hashlib
import os
import time

import bcrypt
import pytest
import yaml

from exporter.errors import ConfigurationError
from exporter.web.auth import Authenticator
from exporter.web.webconfig import WebConfigFile

MODEL = "/api/v1/models/flight_delay"
OTHER = "/api/v1/models/other <model>"
HASH = bcrypt.hashpw(b"correct", bcrypt.gensalt(4)).decode()
TOKENS = {
    "scraper": {"scopes": ["metrics"]},
    "reader": {"scopes": ["read"]},
    "trainer": {"scopes": ["push", "read"], "models": ["flight_delay"]},
    "chief": {"scopes": ["admin"]},
}


def configuration(**changes):
    return {
        "basic_auth_users": {"alice": HASH},
        "tokens": [
            {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **rest}
            for name, rest in TOKENS.items()
        ],
        "http_server_config": {"headers": {"Strict-Transport-Security": "max-age=60"}},
        **changes,
    }


def write(path, value):
    path.write_text(value if isinstance(value, str) else yaml.safe_dump(value), encoding="utf-8")
    os.utime(path, ns=(time.time_ns(), time.time_ns()))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "web.yml"
    write(path, configuration())
    return path


@pytest.fixture
def guarded(serve, file):
    """Give a server whose web configuration is looked at for every request."""
    config = WebConfigFile(file, check_seconds=0)
    web = serve(auth=Authenticator(lambda: config.credentials), headers=lambda: config.headers)
    web.config = config
    return web


def status(web, method, path, token=None, **options):
    if token is not None:
        options["headers"] = {"Authorization": f"Bearer {token}"}
    return web.ask(method, path, **options).status_code


CASES = [
    ("GET", "/metrics", {"scraper"}),
    ("GET", "/", {"reader", "trainer"}),
    ("GET", "/api/v1/models", {"reader", "trainer"}),
    ("GET", "/api/v1/openapi.json", {"reader", "trainer"}),
    ("GET", f"{MODEL}/drift", {"reader", "trainer"}),
    ("GET", f"{OTHER}/drift", {"reader"}),
    ("POST", f"{MODEL}/batches", {"trainer"}),
    ("POST", f"{OTHER}/batches", set()),
    ("POST", f"{MODEL}/labels", {"trainer"}),
    ("POST", f"{MODEL}/profiles", {"trainer"}),
    ("POST", f"{MODEL}/baselines", {"chief"}),
    ("POST", f"{MODEL}/baselines/x/activate", {"chief"}),
    ("DELETE", f"{MODEL}/baselines/x", {"chief"}),
    ("DELETE", f"{MODEL}/data", {"chief"}),
    ("DELETE", f"{MODEL}/versions/v1", {"chief"}),
]


def test_scopes_and_models(guarded):
    """Each token does what its scopes and models allow, and nothing else; nobody unknown does anything."""
    for method, path, allowed in CASES:
        for token in TOKENS:
            got = status(guarded, method, path, token)
            assert (got == 403) == (token not in allowed), (method, path, token, got)
            assert got != 401
        assert status(guarded, method, path) == 401
        assert status(guarded, method, path, "unknown") == 401
        answer = guarded.ask(method, path, auth=("alice", "correct"))
        assert answer.status_code not in {401, 403}, (method, path)


def test_probes_need_nobody(guarded):
    """Health and readiness are for everybody."""
    assert status(guarded, "GET", "/-/healthy") == 200
    assert status(guarded, "GET", "/-/ready") == 200


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Basic YWxpY2U=",
        "Basic /////w==",
        "Digest x",
        "Bearer",
        "Bearer \u00fc",
        "Bearer scraper2",
    ],
)
def test_odd_credentials_are_unauthenticated(guarded, header):
    """Whatever cannot be read names nobody, and the answer says how to come in."""
    answer = guarded.ask("GET", "/metrics", headers={"Authorization": header.encode()})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthenticated"
    assert "Basic" in answer.headers["WWW-Authenticate"]
    assert "Bearer" in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(("user", "password"), [("alice", "wrong"), ("bob", "correct"), ("alice", "x" * 100)])
def test_wrong_passwords(guarded, user, password):
    """Unknown users, wrong passwords and those beyond bcrypt's length are 401."""
    assert guarded.ask("GET", "/metrics", auth=(user, password)).status_code == 401


def test_model_list_shows_what_the_token_may_see(guarded):
    """A token for one model does not learn of the others, in the API and on the page."""
    headers = {"Authorization": "Bearer trainer"}
    listed = guarded.ask("GET", "/api/v1/models", headers=headers).json()["models"]
    assert [model["model"] for model in listed] == ["flight_delay"]
    assert "other" not in guarded.ask("GET", "/", headers=headers).text


def test_known_passwords_are_checked_fast_again(tmp_path):
    """A right password costs bcrypt once a minute."""
    slow = bcrypt.hashpw(b"correct", bcrypt.gensalt(11)).decode()
    write(tmp_path / "web.yml", {"basic_auth_users": {"alice": slow}})
    config = WebConfigFile(tmp_path / "web.yml")
    auth = Authenticator(lambda: config.credentials)
    header = "Basic YWxpY2U6Y29ycmVjdA=="
    assert auth.authenticate(header).name == "alice"
    started = time.perf_counter()
    for _ in range(50):
        auth.authenticate(header)
    assert time.perf_counter() - started < 0.05


def test_file_is_read_again(guarded, file):
    """New users come in and old ones stay out without a restart."""
    new = bcrypt.hashpw(b"new", bcrypt.gensalt(4)).decode()
    write(file, configuration(basic_auth_users={"bob": new}))
    assert guarded.ask("GET", "/metrics", auth=("bob", "new")).status_code == 200
    assert guarded.ask("GET", "/metrics", auth=("alice", "correct")).status_code == 401


@pytest.mark.parametrize("broken", ["{", "tokens: 3", "{}", None])
def test_broken_file_leaves_the_old_one_in_force(guarded, file, broken, caplog):
    """A file that cannot be used, or that would let everybody in, is logged, counted and left aside."""
    if broken is None:
        file.unlink()
    else:
        write(file, broken)
    assert guarded.ask("GET", "/metrics").status_code == 401
    assert guarded.ask("GET", "/metrics", auth=("alice", "correct")).status_code == 200
    assert guarded.config.failures == 1
    assert "stays in force" in caplog.text


def test_configured_headers_are_sent(guarded):
    """`http_server_config.headers` is in every answer, refusals included."""
    assert guarded.ask("GET", "/metrics").headers["Strict-Transport-Security"] == "max-age=60"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"basic_auth_users": {"a": "plain"}}, "basic_auth_users.a"),
        ({"tokens": [{"name": "t", "sha256": "abc", "scopes": ["read"]}]}, "tokens[0].sha256"),
        ({"tokens": [{"name": "t", "sha256": "0" * 64, "scopes": ["write"]}]}, "tokens[0].scopes[0]"),
        ({"tokens": [{"name": "t", "sha256": "0" * 64, "scopes": []}]}, "tokens[0].scopes"),
        (
            {"tokens": [{"name": "t", "sha256": "0" * 64, "scopes": ["read", "metrics"], "models": ["a"]}]},
            "tokens[0].models",
        ),
        ({"tls_server_config": {"cert_file": "x"}}, "tls_server_config.key_file"),
        (
            {"tls_server_config": {"cert_file": "x", "key_file": "y", "min_version": "TLS10"}},
            "tls_server_config.min_version",
        ),
        ({"http_server_config": {"headers": {"X-Evil": "1"}}}, "http_server_config.headers"),
        ({"basic_auth": {}}, "basic_auth"),
    ],
)
def test_every_problem_of_the_file_has_its_path(tmp_path, value, path):
    """Settings that cannot be used are named where they are written."""
    write(tmp_path / "web.yml", value)
    with pytest.raises(ConfigurationError) as caught:
        WebConfigFile(tmp_path / "web.yml")
    assert [where for where, _ in caught.value.problems] == [path]
