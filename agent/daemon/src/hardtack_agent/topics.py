"""Names of the topics (SPEC section 3): one device's access list is two lines.

Source: SPEC section 3.
"""

from __future__ import annotations

import re

ROOT = "ht/v1"
UP = ("birth", "state", "tm", "ev", "rq", "sf")
DOWN = ("job", "blk", "ack", "sf")

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def is_name(text: str) -> bool:
    """Say whether `text` may name a tenant or a device: `[a-z0-9][a-z0-9._-]*`, 1..64 bytes."""
    return _NAME.fullmatch(text) is not None


def up(tenant: str, device: str, kind: str) -> str:
    """Return the topic on which a device sends `kind`.

    Raises:
        ValueError: a name or the kind is not one of those of SPEC section 3.
    """
    return _topic(tenant, device, "up", kind, UP)


def down(tenant: str, device: str, kind: str) -> str:
    """Return the topic on which a device receives `kind`; raises as `up`."""
    return _topic(tenant, device, "dn", kind, DOWN)


def all_up(tenant: str) -> str:
    """Return the filter that matches everything the devices of a tenant send."""
    return f"{ROOT}/{tenant}/d/+/up/+"


def all_down(tenant: str, device: str) -> str:
    """Return the filter that matches everything sent to one device."""
    return f"{ROOT}/{tenant}/d/{device}/dn/+"


def parse(topic: str) -> tuple[str, str, str] | None:
    """Return (tenant, device, kind) of a topic, or None when it is none of ours."""
    parts = topic.split("/")
    if len(parts) != 7 or "/".join(parts[:2]) != ROOT or parts[3] != "d":
        return None
    tenant, device, way, kind = parts[2], parts[4], parts[5], parts[6]
    known = {"up": UP, "dn": DOWN}.get(way, ())
    if kind not in known or not is_name(tenant) or not is_name(device):
        return None
    return tenant, device, kind


def _topic(tenant: str, device: str, way: str, kind: str, known: tuple[str, ...]) -> str:
    if kind not in known:
        raise ValueError(f"no topic called {way}/{kind}")
    for name in (tenant, device):
        if not is_name(name):
            raise ValueError(f"{name!r} cannot be part of a topic: use a-z 0-9 . _ -")
    return f"{ROOT}/{tenant}/d/{device}/{way}/{kind}"
