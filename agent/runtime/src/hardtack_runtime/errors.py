"""Every error a user can meet: one root, a stable code, an exit status.

A message says where, what was met, and what to do about it. Each code has a page
(`hardtack help HT201`) and a test.
"""

from __future__ import annotations

EXIT_STATUS = {"1": 2, "2": 3, "3": 3, "4": 4, "5": 4, "6": 5, "7": 6, "9": 1}
"""Exit status by the first digit of the code: 2 usage or configuration, 3 model not convertible,
4 gate failed or does not fit, 5 device, transport or full disk, 6 signature or trust, 1 our own
fault."""


class HardtackError(Exception):
    """An error the user can act on.

    Args:
        code: `HTnnn`; the catalogue is `hardtack help`.
        where: File, node, topic or key it is about; may be empty.
        met: What was found there.
        todo: What to do about it; may be empty when the code's page says it all.
    """

    reason: int | None = None
    """The `Reason` a microcontroller gave, when this says what it refused."""

    def __init__(self, code: str, where: str, met: str, todo: str = "") -> None:
        self.code = code
        self.where = where
        self.met = met
        self.todo = todo
        place = f"{where}: " if where else ""
        advice = f"; {todo}" if todo else ""
        super().__init__(f"{place}{met}{advice}")

    @property
    def exit_status(self) -> int:
        """Exit status of a command that ends with this error."""
        return EXIT_STATUS.get(self.code[2:3], 1)


class ConfigError(HardtackError):
    """deploy.toml, a flag or an environment variable is wrong (HT1xx)."""


class ModelImportError(HardtackError):
    """A model or its calibration data cannot be read (HT2xx)."""


class BundleError(HardtackError):
    """A bundle is damaged or malformed (HT21x)."""


class UnsupportedOpError(HardtackError):
    """The model asks for something no kernel computes (HT3xx)."""


class GateError(HardtackError):
    """A gate the user set is broken: accuracy, size, latency, fit (HT4xx, HT5xx)."""


class DeviceError(HardtackError):
    """A device, broker, port or disk failed (HT6xx)."""


class TrustError(HardtackError):
    """A signature, key, digest or version is not to be trusted (HT7xx)."""
