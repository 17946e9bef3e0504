"""Where a developer's keys live: one folder, `NAME.key` (private) beside `NAME.pub`."""

from __future__ import annotations

import re
from pathlib import Path

import platformdirs

from hardtack_runtime.errors import ConfigError
from hardtack_runtime.signing import Keyring, SigningKey, VerifyKey


def keys_dir() -> Path:
    """Return the folder of keys; `hardtack keys` fills it."""
    return Path(platformdirs.user_config_path("hardtack")) / "keys"


def key_path(name: str, base: Path = Path()) -> Path:
    """Return the private key file that `name` means: a name in `keys_dir`, or a path.

    Args:
        name: "default", or a path relative to `base`.
        base: Folder of the deploy.toml that names it.

    Raises:
        ConfigError: HT104, it is neither.
    """
    if "/" in name or name.endswith(".key"):
        return base / Path(name).expanduser()
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is None:
        raise ConfigError(
            "HT104", "key", f"{name!r} is no name for a key",
            "use letters, digits, dot, dash and underscore, or give a path",
        )  # fmt: skip
    return keys_dir() / f"{name}.key"


def signing_key(name: str, base: Path = Path()) -> tuple[SigningKey, bool]:
    """Return the key, and whether it had to be made: only "default" is made when missing.

    Raises:
        TrustError: HT704, the file is missing or no key.
    """
    path = key_path(name, base)
    if name == "default" and not path.exists():
        SigningKey.generate().save(path)
        return SigningKey.load(path), True
    return SigningKey.load(path), False


def public_keys(folder: Path) -> list[tuple[str, VerifyKey]]:
    """Return the public keys of a folder by name."""
    return [(path.stem, VerifyKey.load(path)) for path in sorted(folder.glob("*.pub"))]


def own_keyring() -> Keyring:
    """Return every public key of the developer."""
    return Keyring(key for _, key in public_keys(keys_dir()))
