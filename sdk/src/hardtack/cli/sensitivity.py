"""`hardtack sensitivity`: what pruning each layer alone to several sparsities would cost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hardtack.cli import PATH
from hardtack.config import find_config, load_config
from hardtack.files import require_writable
from hardtack_runtime.errors import ConfigError

if TYPE_CHECKING:
    import onnx_ir as ir

    from hardtack.config import Deployment
    from hardtack_converters.compress.bench import Bench
    from hardtack_converters.compress.sensitivity import Sensitivity


@click.command("sensitivity")
@click.option("--config", type=PATH, help="deploy.toml to use")
@click.option("--layer", "layers", multiple=True, help="only layers of this name or pattern")
@click.option(
    "--samples", default=500, type=click.IntRange(1), show_default=True, help="to judge on, at most"
)
@click.option("--plot", type=PATH, help="also draw it: a .png, .svg or .pdf")
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
def command(
    config: Path | None, layers: tuple[str, ...], samples: int, plot: Path | None, as_json: bool
) -> None:
    """Prune one layer at a time, and judge the int8 model on [data] evaluate every time."""
    from rich.console import Console
    from rich.progress import Progress

    from hardtack_converters.compress.sensitivity import measure_sensitivity
    from hardtack_converters.compress.settings import Prune

    if plot is not None:
        _check_plot(plot)
    path = (config or find_config(Path.cwd())).resolve()
    deployment = load_config(path)
    console = Console(stderr=True)
    hidden = as_json or not console.is_terminal
    settings = Prune(sparsity=0.5, layers=layers, samples=samples)  # its share is not used
    with Progress(console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("prune", total=None)
        model, bench = _bench(deployment, path.parent)
        bench = replace(bench, progress=lambda done, of: bar.update(task, completed=done, total=of))
        found = measure_sensitivity(model, settings, bench)
    judged = _judged(deployment, path.parent, model, samples)
    if as_json:
        click.echo(json.dumps(as_document(found, judged), indent=1))
    else:
        _print(found, judged)
    if plot is not None:  # last: what was measured is told even if this fails
        _draw(found, plot)
        click.echo(f"wrote      {plot}", err=as_json)


def _bench(deployment: Deployment, base: Path) -> tuple[ir.Model, Bench]:
    from hardtack.bake import conversion_options, model_file
    from hardtack.evaluation import judge_of
    from hardtack_converters.convert import open_bench

    data = deployment.data.evaluate
    judge = None if data is None else judge_of(data, base)
    options = replace(conversion_options(deployment, base), judge=judge)
    return open_bench(model_file(deployment, base), options)


def _judged(deployment: Deployment, base: Path, model: ir.Model, limit: int) -> int:
    """Return how many samples of [data] evaluate there were to judge on."""
    from hardtack_converters import query
    from hardtack_converters.samples import load_samples

    data = deployment.data.evaluate
    assert data is not None  # or nothing was measured
    shapes = {str(value.name): query.shape_of(value) for value in model.graph.inputs}
    limit = min(limit, data.max)
    return load_samples(base / data.path, shapes, key=data.x, limit=limit).count


def as_document(found: Sensitivity, judged: int) -> dict[str, Any]:
    """Return what was measured, on so many samples, for machines."""
    return {
        "samples": judged,
        "unpruned": found.unpruned,
        "sparsities": list(found.levels),
        "layers": [
            {"name": name, "weights": weights, "accuracy": row.tolist()}
            for name, weights, row in zip(found.layers, found.weights, found.accuracy, strict=True)
        ],
    }


def _print(found: Sensitivity, judged: int) -> None:
    from rich.table import Table

    from hardtack.cli.tables import print_table

    heads = [f"{100 * level:g} %" for level in found.levels]
    click.echo(
        f"accuracy in % of {judged} samples, int8, with this share of one layer's weights at zero:"
    )
    table = Table("layer", "weights", "0 %", *heads, box=None, pad_edge=False)
    for name, weights, row in zip(found.layers, found.weights, found.accuracy, strict=True):
        cells = [f"{100 * accuracy:.2f}" for accuracy in (found.unpruned, *row)]
        table.add_row(name, f"{weights:,}", *cells)
    print_table(table)


def _check_plot(plot: Path) -> None:
    """Refuse before anything long has begun."""
    if plot.suffix not in (".png", ".svg", ".pdf"):
        raise ConfigError("HT104", "--plot", f"{plot.name} is no .png, .svg or .pdf")
    require_writable(plot.parent)
    try:
        import matplotlib as _matplotlib
    except ImportError as error:
        raise ConfigError(
            "HT105", "--plot", "it needs the package matplotlib", "pip install 'hardtack[report]'"
        ) from error
    assert _matplotlib is not None


def _draw(found: Sensitivity, plot: Path) -> None:
    import io

    from matplotlib.figure import Figure

    from hardtack.files import write_whole

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    sparsities = [0.0, *(100 * level for level in found.levels)]
    for name, row in zip(found.layers, found.accuracy, strict=True):
        curve = [100 * found.unpruned, *(100 * row)]
        axes.plot(sparsities, curve, marker="o", label=name[-40:])
    axes.set_xlabel("weights of the layer that are zero, %")
    axes.set_ylabel("accuracy in int8, %")
    axes.legend(fontsize="small")
    drawn = io.BytesIO()
    figure.savefig(drawn, format=plot.suffix[1:])
    write_whole(plot, drawn.getvalue())
