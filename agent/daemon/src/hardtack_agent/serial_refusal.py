"""What it means when a microcontroller says no.

Source: SPEC section 7.3.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from hardtack_agent.serial_link import Frame, Reason, Type
from hardtack_runtime.errors import BundleError, DeviceError, GateError, HardtackError, TrustError
from hardtack_runtime.operator_table import NAMES

_REFUSALS: dict[int, tuple[type[HardtackError], str, str]] = {
    Reason.FLASH: (DeviceError, "HT622", "its flash did not take what was written"),
    Reason.HEADER: (BundleError, "HT212", "it takes this for no bundle"),
    Reason.KEY: (TrustError, "HT701", "its firmware does not know the key that signed the bundle"),
    Reason.SIGNATURE: (TrustError, "HT701", "the signature is wrong"),
    Reason.HARDWARE: (GateError, "HT501", "the bundle is for other hardware"),
    Reason.VERSION: (
        TrustError,
        "HT703",
        "it has had this version with other contents, or a newer one",
    ),
    Reason.DIGEST: (TrustError, "HT702", "the digest is wrong"),
    Reason.STRUCTURE: (BundleError, "HT212", "its runtime refuses the structure"),
    Reason.MEMORY: (GateError, "HT503", "arena and weights exceed its memory"),
    Reason.DIVERGED: (DeviceError, "HT606", "it computes other bits"),
    Reason.GAVE_UP: (DeviceError, "HT607", "three trials were begun and none ended"),
    Reason.REFUSED: (TrustError, "HT705", "it gave this bundle up before"),
    Reason.NO_MODEL: (DeviceError, "HT611", "no model runs"),
    Reason.OPERATOR: (GateError, "HT502", "its firmware was built without an operator"),
}


_TODO: dict[int, str] = {
    Reason.KEY: "sign it with a key that the firmware was built with",
    Reason.HARDWARE: "convert it for a [[target]] of this hardware",
    Reason.VERSION: "give it a higher [project] release, and convert again",
    Reason.MEMORY: "use a smaller model, or a firmware with a larger POOL_SIZE",
    Reason.OPERATOR: "`hardtack build --bundle FILE` makes a firmware that has it",
}


class Verdict(enum.Enum):
    """What a refusal means for a bundle that is to be installed."""

    BAD = enum.auto()
    """The bundle failed on this device, and is not to be tried there again."""
    UNFIT = enum.auto()
    """The device cannot take it as it is now; another firmware may."""
    NONE = enum.auto()
    """It says nothing of the bundle: try again."""


VERDICTS: dict[int, Verdict] = {
    Reason.OK: Verdict.NONE,
    Reason.UNKNOWN: Verdict.NONE,
    Reason.MALFORMED: Verdict.NONE,
    Reason.RANGE: Verdict.NONE,
    Reason.IN_USE: Verdict.NONE,
    Reason.NOT_ERASED: Verdict.NONE,
    Reason.FLASH: Verdict.UNFIT,
    Reason.HEADER: Verdict.UNFIT,  # its format or kernel ABI may be another
    Reason.KEY: Verdict.UNFIT,
    Reason.SIGNATURE: Verdict.BAD,
    Reason.HARDWARE: Verdict.UNFIT,
    Reason.VERSION: Verdict.BAD,
    Reason.DIGEST: Verdict.UNFIT,  # what was sent was right: its flash is not
    Reason.STRUCTURE: Verdict.BAD,
    Reason.MEMORY: Verdict.UNFIT,
    Reason.DIVERGED: Verdict.BAD,
    Reason.GAVE_UP: Verdict.BAD,
    Reason.REFUSED: Verdict.BAD,
    Reason.NO_MODEL: Verdict.UNFIT,
    Reason.GAP: Verdict.NONE,
    Reason.STALE: Verdict.NONE,
    Reason.OPERATOR: Verdict.UNFIT,
}


class RefusedError(Exception):
    """A device said no; callers of `Session` get it as one of our errors unless they ask raw."""

    def __init__(self, kind: Type, frame: Frame) -> None:
        self.kind = kind
        self.reason = frame.status
        self.body = frame.body
        self.detail = int.from_bytes(frame.body[:4], "little")
        super().__init__(f"{kind.name}: reason {self.reason}, detail {self.detail}")


def explain(where: str, reason: int, detail: int, layers: Sequence[str] = ()) -> HardtackError:
    """Return a refusal as an error people can act on.

    Args:
        where: The device.
        reason: A `Reason`, or one a newer firmware knows.
        detail: That belongs to it.
        layers: Names of the bundle's operators.
    """
    kind, code, met = _REFUSALS.get(
        reason, (DeviceError, "HT621", f"it refused: {_name(reason)}, detail {detail}")
    )
    if reason == Reason.DIVERGED:
        named = f" ({layers[detail]})" if detail < len(layers) else ""
        met = f"{met}, first in layer {detail}{named}"
    elif reason == Reason.REFUSED:
        met = f"{met}: {_name(detail)}"
    elif reason == Reason.OPERATOR:
        name = NAMES.get(detail, f"opcode {detail}")
        met = f"{met} of the model, or the coding of its weights: {name}"
    elif reason == Reason.MEMORY and detail:
        met = f"{met}: the smallest that would do is {detail} bytes"
    error = kind(code, where, met, _TODO.get(reason, ""))
    error.reason = reason
    return error


def _name(reason: int) -> str:
    return Reason(reason).name if reason in list(Reason) else f"reason {reason}"


def silent(where: str, time_s: float) -> DeviceError:
    """Return the error of a device that says nothing."""
    todo = "check the cable, the speed (--baud) and that the firmware is on the board"
    if where.startswith("socket:"):
        todo = "close what else has it open: a gateway, another `hardtack flash`"
    elif where.startswith("mqtt:"):
        todo = "see that the board is online, and its gateway's agent.toml says `remote = true`"
    met = f"does not answer as hardtack firmware ({time_s:.0f} s of silence)"
    return DeviceError("HT616", where, met, todo)
