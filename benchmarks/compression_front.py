"""Draws bytes against error of the compressed LeNets: `python -m benchmarks.compression_front`.

Everything comes from saved results: medians over seeds as lines, single seeds as dots, published
figures as crosses. Writes `docs/images/compression_front.svg`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.compression import OUTCOMES, Outcome, stored
from benchmarks.harness import RESULTS, ROOT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = ROOT / "docs" / "images" / "compression_front.svg"
TICKS_KB = (1.5, 2, 3, 4, 6, 10, 20, 40)
TITLES = {"lenet300": "LeNet-300-100", "lenet5": "LeNet-5"}


def draw() -> None:
    """Write the picture."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "hardtack"  # the same file every time
    from matplotlib import pyplot

    result = json.loads((RESULTS / "compression.json").read_text())
    seeds = [Outcome(**one) for one in json.loads(OUTCOMES.read_text())]
    figure, axes = pyplot.subplots(1, len(TITLES), figsize=(9, 3.6))
    for axis, (net, title) in zip(axes, TITLES.items(), strict=True):
        _own(axis, net, result["metrics"], [one for one in seeds if one.net == net and one.size])
        _published(axis, net, result["peers"])
        axis.set(title=title, xlabel="KB", ylabel="error on 10,000 images, %", xscale="log")
        axis.set_xticks(TICKS_KB, labels=map(str, TICKS_KB), minor=False)
        axis.set_xticks([], minor=True)
        axis.grid(visible=True, which="both", alpha=0.3)
        axis.legend(fontsize="small")
    figure.tight_layout()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None})


def _own(axis: Axes, net: str, metrics: dict[str, float], seeds: list[Outcome]) -> None:
    sizes = stored(net)
    points = [(metrics[f"{net}_{s}.bytes"] / 1000, metrics[f"{net}_{s}.error_pct"]) for s in sizes]
    best = [at for at in sorted(points) if all(one[1] >= at[1] for one in points if one < at)]
    axis.plot(*zip(*best, strict=True), "o-", label="hardtack: the whole bundle")
    axis.plot(*zip(*points, strict=True), "C0o", alpha=0.3)
    axis.plot([one.bytes / 1000 for one in seeds], [one.error for one in seeds], "C0.", alpha=0.5)
    dense = metrics.get(f"{net}.dense_error_pct")
    if dense is not None:
        axis.axhline(dense, color="gray", linestyle="--", label=f"float, {dense:g} %")


def _published(axis: Axes, net: str, peers: dict[str, dict[str, float]]) -> None:
    for peer, figures in peers.items():
        for key, size in figures.items():
            if key.startswith(f"{net}.") and key.endswith("bytes"):
                error = figures[key.removesuffix("bytes") + "error_pct"]
                axis.plot(size / 1000, error, "x", label=f"{peer}, published")


if __name__ == "__main__":
    draw()
