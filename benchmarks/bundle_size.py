"""Bundle against the `.tflite` through zstd -19, with the bytes of each coding and the entropy."""

from __future__ import annotations

import zstandard

from benchmarks.harness import DATA, MODELS, Report, run
from hardtack_converters.convert import Options, convert, pack_model
from hardtack_runtime.bundle import unpack
from hardtack_runtime.packing import entropy_bytes
from hardtack_runtime.signing import SigningKey


def measure(report: Report, _quick: bool) -> None:
    """Pack every model and count."""
    key = SigningKey.generate()
    for name, file in MODELS.items():
        source = (DATA / file).read_bytes()
        bundle = pack_model(convert(DATA / file, Options(name=name.replace("_", "-"))), key)
        content = unpack(bundle)
        constants = [t.data for t in content.program.tensors if t.data is not None]
        report.add(f"{name}.bundle_bytes", len(bundle))
        report.add(f"{name}.constants_raw_bytes", sum(c.nbytes for c in constants))
        report.add(f"{name}.constants_stored_bytes", sum(s.size for s in content.stored))
        report.add(f"{name}.constants_entropy_bytes", sum(map(entropy_bytes, constants)))
        report.add(f"{name}.bundle_bytes", len(source), "tflite")
        report.add(f"{name}.bundle_bytes", len(zstandard.compress(source, 19)), "tflite_zstd19")


if __name__ == "__main__":
    run("bundle_size", measure)
