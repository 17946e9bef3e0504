"""A small net on MNIST with two binary layers, products counted, beside the same net in int8.

Its second convolution and its first dense layer have nearly all of its products. Both nets are
trained for as many epochs, from the same start; the full run trains them anew, with one seed, and
keeps the bundles in `benchmarks/models`. `--quick` measures the bundles that are there. Errors are
those of the bundles in int8 on all 10,000 test images, instructions those of one inference on
boards in QEMU.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import onnx
import onnx_ir as ir

from benchmarks.compression import MEAN, STD, drawn, error_percent, mnist, normalised, prepared
from benchmarks.harness import Report, run
from benchmarks.microcontroller import COUNTER_MHZ, NS_PER_INSTRUCTION, run_once
from hardtack_converters.compress.layers import layer_name, weighted_layers
from hardtack_converters.convert import Options, convert, pack_model
from hardtack_converters.placing import InPlace, place_weights
from hardtack_runtime.bundle import pack, unpack
from hardtack_runtime.memory import Needs, Way
from tests.conformance.models.nets import model_of, node
from tests.digit_bundles import KEY
from tests.firmware.qemu import BOARDS, Machine

MODELS = Path(__file__).parent / "models"
SHAPES = ((24, 1, 5, 5), (48, 24, 3, 3), (64, 1200), (10, 64))
BINARY = slice(1, 3)
"""Which of its layers."""
FIRST, SECOND = 6, 14
"""Epochs in int8, and then either with binary layers or in int8 again."""
CORES = {"cortex-m4": "mps2-an386", "cortex-m3": "mps2-an385"}


def measure(report: Report, quick: bool) -> None:
    """Train unless quick; then measure both bundles."""
    if not quick:
        train_both()
    for kind in ("int8", "binary"):
        peer = None if kind == "binary" else "int8"
        data = bundle_path(kind).read_bytes()
        report.add("mnist_small.error_pct", error_percent(data), peer=peer)
        for core in CORES:
            inference(report, core, data, "auto", peer)
    for core in CORES:
        inference(report, core, bundle_path("binary").read_bytes(), "never", "multiplied")


def inference(report: Report, core: str, data: bytes, wanted: InPlace, peer: str | None) -> None:
    """Report one run of a bundle, weights placed as `wanted`."""
    content, board = unpack(data), BOARDS[CORES[core]]
    write = partial(pack, content.program, content.manifest, key=KEY, golden=content.golden)
    bundle = place_weights(content.program, write, core, None, None, wanted)
    with tempfile.TemporaryDirectory() as folder:
        ran = run_once(Machine(board, Path(folder)), bundle)
    if ran is None:
        raise ValueError(f"{board.name} has no room for {peer or 'binary'}")
    where = f"mnist_small.{core}"
    per_tick = 1000 / (NS_PER_INSTRUCTION * COUNTER_MHZ[board.name])
    report.add(f"{where}.instructions", ran.ticks * per_tick, peer=peer)
    report.add(f"{where}.stack_bytes", ran.stack, peer=peer)
    report.add(f"{where}.pool_bytes", Needs.of(unpack(bundle)).taken(Way.MEMORY), peer=peer)
    report.add(f"{where}.bundle_bytes", len(bundle), peer=peer)


def bundle_path(kind: str) -> Path:
    """Return where the bundle of a kind is."""
    return MODELS / f"small-{kind}.htb"


def train_both() -> None:
    """Train the net in int8, and from there twice: on in int8, and with binary layers."""
    from hardtack_converters.training.options import Epoch, TrainOptions
    from hardtack_converters.training.train import train

    images, labels = mnist("train")
    options = Options(
        name="mnist-small", task="classify", mean=(MEAN,), std=(STD,), calibration=images[:512]
    )

    def trained(model: ir.Model, epochs: int, binary: tuple[str, ...] = ()) -> ir.Model:
        def told(epoch: Epoch, _: int) -> None:
            print(binary, epoch, flush=True)

        wanted = TrainOptions(
            epochs=epochs, rate=0.0, lr=0.01, shift=1, average=0.99, half=True, binary=binary
        )
        done = train(model, normalised(images), labels, wanted, _no_size, progress=told)
        return done.model

    start = trained(prepared(random_net(0).SerializeToString()), FIRST)
    for kind, chosen in (("int8", slice(0)), ("binary", BINARY)):
        again = prepared(ir.to_proto(start).SerializeToString())
        binary = tuple(layer_name(layer.node) for layer in weighted_layers(again)[chosen])
        file = ir.to_proto(trained(again, SECOND, binary)).SerializeToString()
        bundle_path(kind).write_bytes(pack_model(convert(file, options), None))


def _no_size(_: ir.Model) -> int:
    return 0


def random_net(seed: int) -> onnx.ModelProto:
    """Return the net before any training."""
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        node("Conv", "image w0 b0", "c0"), node("MaxPool", "c0", "p0", **pool),
        node("Relu", "p0", "r0"),
        node("Conv", "r0 w1 b1", "c1"), node("MaxPool", "c1", "p1", **pool),
        node("Relu", "p1", "r1"), node("Flatten", "r1", "flat"),
        node("Gemm", "flat w2 b2", "h0", transB=1), node("Relu", "h0", "r2"),
        node("Gemm", "r2 w3 b3", "logits", transB=1),
    ]  # fmt: skip
    return model_of(nodes, drawn(SHAPES, seed), {"image": ["batch", 1, 28, 28]}, {"logits": 2})


if __name__ == "__main__":
    run("binary", measure)
