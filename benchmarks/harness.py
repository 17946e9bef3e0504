"""What all benchmarks share: arguments, timing with median and spread, one JSON object out."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("HARDTACK_DATA", ROOT.parent / "shared" / "data"))
RESULTS = Path(__file__).parent / "results"

MODELS = {
    "kws": "mlperf_tiny/kws_ref_model.tflite",
    "resnet": "mlperf_tiny/pretrainedResnet_quant.tflite",
    "resnet_large": "mlperf_tiny/pretrainedResnet_large_int8.tflite",
    "vww": "mlperf_tiny/vww_96_int8.tflite",
    "ad": "mlperf_tiny/ad01_int8.tflite",
    "sww": "mlperf_tiny/str_ww_ref_model.tflite",
    "micro_speech": "tflite_micro/micro_speech_quantized.tflite",
    "hello_world": "tflite_micro/hello_world_int8.tflite",
    "person_detect": "tflite_micro/person_detect.tflite",
}
"""Real int8 models, relative to the data folder."""


@dataclass(slots=True)
class Report:
    """Figures of one benchmark; a key is subject.quantity_unit."""

    name: str
    metrics: dict[str, float] = field(default_factory=dict)
    peers: dict[str, dict[str, float]] = field(default_factory=dict)
    spread: dict[str, list[float]] = field(default_factory=dict)
    """Minimum and maximum behind a median, by key; a peer's key is peer/key."""

    def add(self, key: str, values: list[float] | float, peer: str | None = None) -> None:
        """Record a figure: one number, or several of which the median counts."""
        many = values if isinstance(values, list) else [values]
        table = self.metrics if peer is None else self.peers.setdefault(peer, {})
        table[key] = _rounded(statistics.median(many))
        if len(many) > 1:
            name = key if peer is None else f"{peer}/{key}"
            self.spread[name] = [_rounded(min(many)), _rounded(max(many))]


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def time_call(call: Callable[[], object], seconds: float, rounds: int = 7) -> list[float]:
    """Return the median microseconds of one call in each of several rounds."""
    return time_calls({"": call}, seconds, rounds)[""]


def time_calls(
    calls: Mapping[str, Callable[[], object]], seconds: float, rounds: int = 7
) -> dict[str, list[float]]:
    """Return the same of several calls, `seconds` each.

    They take turns, round by round: what slows the machine for a while slows all of them.
    """
    medians: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            medians[name].append(_median_micros(call, seconds / rounds))
    return medians


def _median_micros(call: Callable[[], object], seconds: float) -> float:
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not samples:
        start = time.perf_counter_ns()
        call()
        samples.append((time.perf_counter_ns() - start) / 1e3)
    return statistics.median(samples)


def run(name: str, measure: Callable[[Report, bool], None]) -> None:
    """Run a benchmark as a program: `--json`, `--quick`, `--save`."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="finish in under a minute")
    parser.add_argument("--save", action="store_true", help="keep the result for the docs")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"no data at {DATA}: set HARDTACK_DATA to the folder of real models")
    report = Report(name)
    measure(report, options.quick)
    result = {
        "name": name, "metrics": report.metrics, "peers": report.peers,
        "spread": report.spread, "machine": machine(),
    }  # fmt: skip
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    if options.json:
        print(json.dumps(result))
    else:
        _print(report)


def _print(report: Report) -> None:
    peers = list(report.peers)
    keys = list(dict.fromkeys([*report.metrics, *(k for p in report.peers.values() for k in p)]))
    width = max(len(key) for key in keys)
    print(f"{'':{width}}  {'hardtack':>12}" + "".join(f"  {peer:>14}" for peer in peers))
    for key in keys:
        row = [report.metrics.get(key), *(report.peers[peer].get(key) for peer in peers)]
        cells = ["" if value is None else f"{value:g}" for value in row]
        print(f"{key:{width}}  {cells[0]:>12}" + "".join(f"  {cell:>14}" for cell in cells[1:]))
