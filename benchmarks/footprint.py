"""Memory, start-up and unpacking beside the rivals; the cost of `hardtack --help`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
import zstandard

from benchmarks.fleet import fleet
from benchmarks.harness import DATA, MODELS, ROOT, Report, run, time_call
from hardtack_converters.convert import Converted, Options, convert, pack_model
from hardtack_runtime.huffman import build_table, encode_dense
from hardtack_runtime.interpreter import huffman_decode_dense
from hardtack_runtime.signing import SigningKey

_TAIL = """
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
print(json.dumps({"rss": peak.split()[1]}))
"""
_HARDTACK = """
import sys, json
import numpy as np
from hardtack_runtime.interpreter import Interpreter
i = Interpreter(open(sys.argv[1], "rb").read())
i.run(*(np.zeros(s, np.int8) for s in i.input_shapes))
"""
_LITERT = """
import sys, json
import numpy as np
from ai_edge_litert.interpreter import Interpreter
i = Interpreter(model_path=sys.argv[1], num_threads=1)
i.allocate_tensors()
d = i.get_input_details()[0]
i.set_tensor(d["index"], np.zeros(d["shape"], d["dtype"]))
i.invoke()
i.get_tensor(i.get_output_details()[0]["index"])
"""
_ORT = """
import sys, json
import numpy as np
import onnxruntime as ort
o = ort.SessionOptions(); o.intra_op_num_threads = 1; o.log_severity_level = 3
s = ort.InferenceSession(sys.argv[1], o, providers=["CPUExecutionProvider"])
d = s.get_inputs()[0]
s.run(None, {d.name: np.zeros(d.shape, {"tensor(int8)": np.int8}.get(d.type, np.float32))})
"""


def measure(report: Report, quick: bool) -> None:
    """Run everything; --quick takes fewer rounds."""
    for name in MODELS:
        arena(report, name)
    decode_speed(report, 0.5 if quick else 5.0)
    with tempfile.TemporaryDirectory(prefix="hardtack-bench-") as folder:
        runner = build_runner(Path(folder))
        for name in ("ad", "vww"):
            cold_start(report, name, Path(folder), runner, 3 if quick else 11)
    agent_process(report)
    help_cost(report, 5 if quick else 21)


def arena(report: Report, name: str) -> None:
    """Compare working memory with what TensorFlow Lite Micro's recorder reports."""
    program = convert(DATA / MODELS[name]).program
    report.add(f"{name}.arena_bytes", program.arena_size)
    code = (
        "import sys; from tflite_micro.python.tflite_micro import runtime as r;"
        "r.Interpreter.from_file(sys.argv[1], intrepreter_config="
        "r.InterpreterConfig.kAllocationRecording).print_allocations()"
    )
    command = [sys.executable, "-c", code, str(DATA / MODELS[name])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for part in ("head", "tail"):
        found = re.search(rf"Arena allocation {part} (\d+)", done.stdout + done.stderr)
        if found:
            key = "arena_bytes" if part == "head" else "arena_tail_bytes"
            report.add(f"{name}.{key}", int(found[1]), "tflite_micro")
    report.add(f"{name}.arena_tail_bytes", 0)


def decode_speed(report: Report, seconds: float) -> None:
    """Unpack the largest tensor of the wide ResNet, in C, beside zstd on the same bytes."""
    program = convert(DATA / MODELS["resnet_large"]).program
    codes = max((t.data for t in program.tensors if t.data is not None), key=lambda d: d.size)
    codes = codes.reshape(-1)
    table = build_table(np.bincount(codes.astype(np.int64) + 128, minlength=256))
    stored, lengths = encode_dense(codes, table), table.encode()
    micros = time_call(lambda: huffman_decode_dense(stored, codes.size, lengths), seconds)
    report.add("unpack.speed_mb_s", [codes.size / us for us in micros])
    report.add("unpack.stored_bytes", len(stored) + len(lengths))
    for level in (3, 19):
        squeezed = zstandard.compress(codes.tobytes(), level)
        micros = time_call(partial(zstandard.ZstdDecompressor().decompress, squeezed), seconds)
        report.add("unpack.speed_mb_s", [codes.size / us for us in micros], f"zstd_{level}")
        report.add("unpack.stored_bytes", len(squeezed), f"zstd_{level}")


def build_runner(folder: Path) -> Path:
    """Compile ht_run, the C runtime without Python."""
    source = str(ROOT / "agent" / "runtime")
    cmake = [str(Path(sys.executable).parent / "cmake")]
    options = ["-S", source, "-B", str(folder), "-DHARDTACK_TOOLS=ON"]
    subprocess.run([*cmake, *options], check=True, capture_output=True)
    subprocess.run([*cmake, "--build", str(folder), "--target", "ht_run"], check=True,
                   capture_output=True)  # fmt: skip
    return folder / "ht_run"


def cold_start(report: Report, name: str, folder: Path, runner: Path, rounds: int) -> None:
    """Time fresh processes to their first result, in turn, and their peak memory."""
    model = DATA / MODELS[name]
    bundle, qdq = folder / f"{name}.htb", folder / f"{name}.onnx"
    converted: Converted = convert(model, Options(name=name))
    bundle.write_bytes(pack_model(converted, None))
    qdq.write_bytes(ir.to_proto(converted.quantized).SerializeToString())
    python = [sys.executable, "-c"]
    commands: dict[str | None, list[str]] = {
        None: [*python, _HARDTACK + _TAIL, str(bundle)],
        "hardtack_c": ["sh", "-c", f"{runner} {bundle}; :"],
        "litert": [*python, _LITERT + _TAIL, str(model)],
        "onnxruntime": [*python, _ORT + _TAIL, str(qdq)],
        "bare_python": [*python, "import json" + _TAIL],
        "python_numpy": [*python, "import json, numpy" + _TAIL],
    }
    times: dict[str | None, list[float]] = {peer: [] for peer in commands}
    memory: dict[str | None, list[float]] = {peer: [] for peer in commands}
    for _ in range(rounds):
        for peer, command in commands.items():
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            times[peer].append(1e3 * (time.perf_counter() - start))
            memory[peer].append(_peak_mb(done.stdout))
    for peer in commands:
        report.add(f"{name}.cold_start_ms", times[peer], peer)
        report.add(f"{name}.rss_mb", memory[peer], peer)


def _peak_mb(output: str) -> float:
    kib = re.search(r"peak RSS (\d+) KiB", output)
    return int(kib[1]) / 1024 if kib else int(json.loads(output)["rss"]) / 1024


def agent_process(report: Report) -> None:
    """Measure an agent that has answered one prediction."""
    key = SigningKey.generate()
    converted = convert(DATA / MODELS["kws"], Options(name="kws", task="classify"))
    shape = converted.manifest.inputs[0].shape
    with fleet(key) as devices:
        begin = time.perf_counter()
        devices.push(pack_model(converted, key))
        report.add("agent.push_to_confirmed_ms", 1e3 * (time.perf_counter() - begin))
        zeros = np.zeros((200, *shape), np.float32)
        begin = time.perf_counter()
        devices.predict(devices.devices[0], "kws", zeros, np.zeros(200, np.int64))
        report.add("agent.prediction_us", 1e6 * (time.perf_counter() - begin) / 200)
        report.add("agent.rss_mb", _agent_memory(devices.devices[0]))


def _agent_memory(device: str) -> float:
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        words = status.read_bytes().split(b"\0") if status.exists() else []
        if b"hardtack_agent.main" in words and device.encode() in words:
            lines = (status.parent / "status").read_text().splitlines()
            peak = next(line for line in lines if line.startswith("VmHWM"))
            return int(peak.split()[1]) / 1024
    return float("nan")


def help_cost(report: Report, rounds: int) -> None:
    """Compare `hardtack --help` with a Python that does nothing."""
    tool = str(Path(sys.executable).parent / "hardtack")
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(rounds):
        for command, times in (([tool, "--help"], ours), ([sys.executable, "-c", "pass"], bare)):
            start = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True)
            times.append(1e3 * (time.perf_counter() - start))
    report.add("help.wall_ms", ours)
    report.add("help.wall_ms", bare, "bare_python")
    report.add("help.times_bare_python", float(np.median(ours) / np.median(bare)))


def sizes() -> None:
    """Print the code size of each C file, as the host's compiler makes it."""
    sources = sorted((ROOT / "agent/runtime/csrc/src").rglob("*.c"))
    include = str(ROOT / "agent/runtime/csrc/include")
    private = str(ROOT / "agent/runtime/csrc/src")
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'file':28}{'text':>8}{'data':>6}{'bss':>6}  (cc -Os)")
        for source in sources:
            target = Path(folder) / f"{source.stem}.o"
            command = [
                "cc",
                "-std=c99",
                "-Os",
                "-DHT_PORTABLE",
                f"-I{include}",
                f"-I{private}",
                "-c",
            ]
            subprocess.run([*command, str(source), "-o", str(target)], check=True)
            done = subprocess.run(["size", str(target)], capture_output=True, text=True, check=True)
            text, data, bss = done.stdout.splitlines()[1].split()[:3]
            print(f"{source.stem:28}{text:>8}{data:>6}{bss:>6}")


if __name__ == "__main__":
    if "--size" in sys.argv:
        sizes()
    else:
        run("footprint", measure)
