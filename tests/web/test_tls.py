"""TLS with certificates that change under the running server."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import time

import pytest
import requests
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from exporter.errors import ConfigurationError
from exporter.web.server import LazyHandshake
from exporter.web.webconfig import WebConfigFile


def write_certificate(directory, name):
    """Write a self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    paths = directory / f"{name}.crt", directory / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


def configure(directory, **settings):
    file = directory / "web.yml"
    tls = {"cert_file": "server.crt", "key_file": "server.key", **settings}
    file.write_text(yaml.safe_dump({"tls_server_config": tls}), encoding="utf-8")
    return WebConfigFile(file, check_seconds=0)


@pytest.fixture
def secure(serve, tmp_path):
    """Give a function that starts a TLS server with further settings."""
    write_certificate(tmp_path, "server")

    def start(**settings):
        return serve(tls=LazyHandshake(configure(tmp_path, **settings).tls_context))

    return start


def test_requests_over_tls(secure, tmp_path):
    """Pushes and scrapes work over TLS, large answers too."""
    web = secure()
    web.session.verify = str(tmp_path / "server.crt")
    assert web.url.startswith("https://")
    for _ in range(3):
        assert web.ask("GET", "/metrics").status_code == 200
    rows = [{"flight_id": str(i), "predicted": True, "probability": 0.5} for i in range(20_000)]
    assert web.push(rows).json()["accepted"] == 20_000


def test_certificate_is_read_again(secure, tmp_path):
    """A renewed certificate serves the next connection."""
    web = secure()
    first = ssl.get_server_certificate(web.server.address)
    for written, target in zip(write_certificate(tmp_path, "renewed"), ("crt", "key"), strict=True):
        written.replace(tmp_path / f"server.{target}")
    assert ssl.get_server_certificate(web.server.address) != first


def test_client_certificates(secure, tmp_path):
    """With RequireAndVerifyClientCert only clients of the authority come in."""
    certificate, key = write_certificate(tmp_path, "client")
    web = secure(client_auth_type="RequireAndVerifyClientCert", client_ca_file="client.crt")
    web.session.verify = str(tmp_path / "server.crt")
    with pytest.raises(requests.ConnectionError):
        web.ask("GET", "/-/healthy")
    web.session.cert = (str(certificate), str(key))
    assert web.ask("GET", "/-/healthy").status_code == 200


def test_minimum_version_is_kept(secure):
    """A client that offers less than min_version does not get through."""
    web = secure(min_version="TLS13")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(web.server.address) as client, pytest.raises(ssl.SSLError):
        context.wrap_socket(client)


def test_silent_and_plain_clients_do_not_hold_up_others(secure, tmp_path):
    """Clients that never shake hands, or speak plain HTTP, cost the others nothing."""
    web = secure()
    web.session.verify = str(tmp_path / "server.crt")
    silent = [socket.create_connection(web.server.address) for _ in range(40)]
    plain = socket.create_connection(web.server.address)
    plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    started = time.monotonic()
    assert web.ask("GET", "/metrics").status_code == 200
    assert time.monotonic() - started < 2
    for client in [*silent, plain]:
        client.close()


def test_unusable_certificates_are_refused(tmp_path):
    """A key that does not fit, or an authority without a policy, stops the start with a sentence."""
    write_certificate(tmp_path, "server")
    _, other = write_certificate(tmp_path, "other")
    with pytest.raises(ConfigurationError, match="cannot use"):
        configure(tmp_path, key_file=str(other))
    with pytest.raises(ConfigurationError, match="go together"):
        configure(tmp_path, client_ca_file="server.crt")
