"""A certificate authority for a test, and a broker that wants its certificates."""

from __future__ import annotations

import datetime
import getpass
import ipaddress
import socket
import subprocess
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from hardtack_agent.transport import Tls

ACCESS = """\
user controller
topic readwrite ht/v1/default/d/#
pattern write ht/v1/default/d/%u/up/#
pattern read ht/v1/default/d/%u/dn/#
"""
CONFIG = """\
listener {port} 127.0.0.1
cafile {folder}/ca.pem
certfile {folder}/broker.pem
keyfile {folder}/broker.key
require_certificate true
use_identity_as_username true
acl_file {folder}/access
set_tcp_nodelay true
user {user}
"""


class Authority:
    """Signs certificates into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("test authority")
        self._write("ca", self._build(self._name, self._key, authority=True), None)

    def issue(self, name: str) -> Tls:
        """Make a key and its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(name, self._build(_name(name), key, authority=False), key)
        return Tls(self.folder / "ca.pem", self.folder / f"{name}.pem", self.folder / f"{name}.key")

    def _build(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        local = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([local]), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(
        self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | None
    ) -> None:
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        if key is not None:
            text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            (self.folder / f"{name}.key").write_bytes(text)


def start_broker(authority: Authority, program: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start mosquitto with mutual TLS and the two-line access list; returns it and its URL."""
    folder = authority.folder
    authority.issue("broker")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "access").write_text(ACCESS)
    config = folder / "mosquitto.conf"
    config.write_text(CONFIG.format(port=port, folder=folder, user=getpass.getuser()))
    process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    for _ in range(200):
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    return process, f"mqtts://127.0.0.1:{port}"


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
