"""Ed25519 keys: the developer's signing key, and the public keys a device trusts.

Files are standard PEM (PKCS #8 and SubjectPublicKeyInfo), so openssl reads them too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hardtack_runtime.errors import TrustError

if TYPE_CHECKING:  # cryptography costs as much to import as the rest together
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )


def _key_id(public: bytes) -> bytes:
    return hashlib.sha256(public).digest()[:8]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key. `save` writes it for its owner's eyes only."""

    _key: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a new random key."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """Return the key of a 32-byte seed; for reproducible test files only."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read a private key.

        Raises:
            TrustError: HT704, no readable Ed25519 private key there.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key = _load(path, lambda data: load_pem_private_key(data, None), "private")
        if not isinstance(key, Ed25519PrivateKey):
            raise TrustError("HT704", str(path), f"holds a {type(key).__name__}, not Ed25519")
        return cls(key)

    def save(self, path: Path) -> None:
        """Write the key, mode 0600, and its public half beside it as `<name>.pub`.

        Raises:
            TrustError: HT704, the file exists: a key is never overwritten.
        """
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        data = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise TrustError("HT704", str(path), "a key is already there", _KEEP) from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        self.verify_key.save(path.with_suffix(".pub"))

    @property
    def verify_key(self) -> VerifyKey:
        """The public half."""
        return VerifyKey(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature."""
        return self._key.sign(message)


_KEEP = "choose another name, or move the old key away: bundles it signed need it"


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A public key."""

    _key: Ed25519PublicKey

    @classmethod
    def load(cls, path: Path) -> VerifyKey:
        """Read a public key.

        Raises:
            TrustError: HT704, no readable Ed25519 public key there.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        key = _load(path, load_pem_public_key, "public")
        if not isinstance(key, Ed25519PublicKey):
            raise TrustError("HT704", str(path), f"holds a {type(key).__name__}, not Ed25519")
        return cls(key)

    @classmethod
    def from_raw(cls, raw: bytes) -> VerifyKey:
        """Return the public key of 32 raw bytes.

        Raises:
            ValueError: they are not 32.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return cls(Ed25519PublicKey.from_public_bytes(raw))

    def save(self, path: Path) -> None:
        """Write the key as PEM."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    @property
    def raw(self) -> bytes:
        """The 32 bytes of RFC 8032."""
        return self._key.public_bytes_raw()

    @property
    def key_id(self) -> bytes:
        """First 8 bytes of SHA-256 over the raw 32-byte key."""
        return _key_id(self.raw)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Say whether the signature is this key's, over this message."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


_FILES = {"private": ".key", "public": ".pub"}


def _load(path: Path, parse: Callable[[bytes], object], what: str) -> object:
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise TrustError(
            "HT704",
            str(path),
            f"cannot be read ({error.strerror})",
            "`hardtack keys new` makes one",
        ) from error
    except ValueError as error:
        raise TrustError(
            "HT704",
            str(path),
            f"holds no {what} key in PEM",
            f"give the {_FILES[what]} file that `hardtack keys new` made",
        ) from error


class Keyring:
    """The public keys a device trusts."""

    def __init__(self, keys: Iterable[VerifyKey]) -> None:
        self._keys = {key.key_id: key for key in keys}

    @classmethod
    def load(cls, directory: Path) -> Keyring:
        """Read every `*.pub` of a directory; an empty keyring trusts nothing.

        Raises:
            TrustError: HT704, the directory is missing or a file in it is no public key.
        """
        if not directory.is_dir():
            raise TrustError("HT704", str(directory), "is no directory of public keys (*.pub)")
        return cls(VerifyKey.load(path) for path in sorted(directory.glob("*.pub")))

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, key_id: bytes) -> VerifyKey | None:
        """Return the trusted key of this id, if there is one."""
        return self._keys.get(key_id)
