"""Training with the size of the bundle in the loss; needs torch (the extra `train`)."""

from __future__ import annotations

from hardtack_runtime.errors import ConfigError

try:
    import torch as _torch
except ImportError as error:
    raise ConfigError(
        "HT105", "training", "it needs the package torch",
        "pip install 'hardtack[train]'",
    ) from error  # fmt: skip

assert _torch is not None
