"""Fetches and writes what a firmware build needs besides a C compiler.

    python3 prepare.py OUT [KEY.pub [KEY.pub]]

OUT/monocypher gets Monocypher's two files, from the source distribution of pymonocypher, whose
hash is pinned here; OUT/ht_keys.c the public keys the device is to trust.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

NAME = "pymonocypher==4.0.3.4"
SHA256 = "5e56e3d3eb770a53e0b9f6274146663c11a11f3d0de5cd48e3be0428d1b07a4a"
FILES = ("monocypher.c", "monocypher.h")


def fetch_monocypher(folder: Path) -> None:
    """Write Monocypher's files, unless they are there."""
    if all((folder / name).exists() for name in FILES):
        return
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch, "requirements.txt")
        wanted.write_text(f"{NAME} --hash=sha256:{SHA256}\n")
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--no-binary", "pymonocypher", "--disable-pip-version-check"),
                *("--require-hashes", "--dest", scratch, "-r", str(wanted)),
            ],
            check=True,
        )
        archive = next(Path(scratch).glob("*.tar.gz"))
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                name = Path(member.name).name
                source = tar.extractfile(member) if name in FILES else None
                if source is not None:
                    (folder / name).write_bytes(source.read())


def raw_key(path: Path) -> bytes:
    """Read a PEM SubjectPublicKeyInfo of Ed25519: its last 32 bytes are the key."""
    lines = path.read_text().splitlines()
    der = base64.b64decode("".join(line for line in lines if not line.startswith("-----")))
    if len(der) != 44 or not der.startswith(bytes.fromhex("302a300506032b6570032100")):
        raise SystemExit(f"{path}: holds no Ed25519 public key; `hardtack keys new` makes one")
    return der[-32:]


def keys_source(keys: list[bytes]) -> str:
    """Return the C file of one or two raw keys; a missing one is zeros, which nobody holds."""
    rows = []
    for key in (*keys, bytes(32))[:2]:
        rows.append("    {" + ", ".join(f"0x{byte:02x}" for byte in key) + "},\n")
    return (
        '#include "hardtack/ht_board.h"\n\n'
        "const uint8_t ht_public_keys[2][32] = {\n" + "".join(rows) + "};\n"
    )


def main() -> None:
    """Do what the module says."""
    if not 2 <= len(sys.argv) <= 4:
        raise SystemExit(__doc__)
    out = Path(sys.argv[1])
    fetch_monocypher(out / "monocypher")
    (out / "ht_keys.c").write_text(keys_source([raw_key(Path(p)) for p in sys.argv[2:]]))


if __name__ == "__main__":
    main()
