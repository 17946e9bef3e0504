"""Ask the agent of this device for predictions, and tell it afterwards what was right.

    python examples/predict.py AGENT_SOCKET SAMPLES.npz [MODEL]

The samples are the arrays `x`, one input each, and `y`, their classes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from hardtack_agent.client import Client
from hardtack_runtime.errors import HardtackError


def main(socket: str, samples: str, model: str = "digits") -> None:
    """Predict every sample and print how many were right."""
    with np.load(samples) as arrays:
        x, y = arrays["x"], arrays["y"]
    right, latency_us = 0, []
    with Client(Path(socket)) as agent:
        for index, (sample, truth) in enumerate(zip(x, y, strict=True)):
            answer = agent.predict(model, [sample], label=int(truth))
            right += answer.index == truth
            latency_us.append(answer.latency_us)
            if index < 3:
                print(f"sample {index}: {answer.label}, truth {truth}")
    print(f"{right} of {len(x)} right, median latency {np.median(latency_us):.0f} us")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except HardtackError as error:
        sys.exit(f"{error.code} {error}")
