"""Run labelled samples on a board over its serial line, as an application on it would.

    python examples/predict_on_board.py PORT BUNDLE SAMPLES.npz [BROKER]

PORT is a serial port or socket://HOST:PORT; with a BROKER it is the name of a board whose gateway
lends its line (`remote = true`). BUNDLE is the one that runs there: it says how real
inputs become codes. The board counts what it predicts, and whether it was right: its telemetry.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np

from hardtack_agent.serial_line import open_line
from hardtack_agent.serial_mqtt import MqttLine
from hardtack_agent.serial_session import Session
from hardtack_agent.transport import Tls
from hardtack_runtime.bundle import unpack
from hardtack_runtime.errors import HardtackError


def main(port: str, bundle: str, samples: str, broker: str = "") -> None:
    """Predict every sample there and print how many were right."""
    with np.load(samples) as arrays:
        x, y = arrays["x"], arrays["y"]
    contract = unpack(Path(bundle).read_bytes()).manifest.inputs[0]
    codes = np.rint(x / contract.scale + contract.zero_point).clip(-128, 127).astype(np.int8)
    right, latency_us = 0, []
    lent = partial(MqttLine, broker, "default", port, Tls())
    with Session(lent if broker else partial(open_line, port), port) as board:
        board.hello()
        for sample, truth in zip(codes, y, strict=True):
            answer = board.run(sample.tobytes(), int(truth))
            right += answer.top == truth
            latency_us.append(answer.latency_us)
    print(f"{right} of {len(x)} right, median latency {np.median(latency_us):.0f} us")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except HardtackError as error:
        sys.exit(f"{error.code} {error}")
