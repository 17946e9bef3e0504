"""`hardtack check`: can this model be converted, and if not, because of which nodes?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import click

from hardtack.cli import PATH
from hardtack.config import find_config, load_config


@click.command("check")
@click.argument("model", required=False, type=PATH)
@click.option("--config", type=PATH, help="deploy.toml to use")
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
def command(model: Path | None, config: Path | None, as_json: bool) -> int:
    """Check deploy.toml and every operator of its model, before anything is converted.

    With MODEL, checks that file alone.
    """
    from hardtack.bake import given_shapes
    from hardtack_converters.convert import check

    shapes: Mapping[str, tuple[int, ...]] = {}
    if model is None:
        path = config or find_config(Path.cwd())
        deployment = load_config(path)
        model = path.parent / deployment.model.path
        shapes = given_shapes(deployment)
    problems = check(model, shapes)
    if as_json:
        found = [{"code": p.code, "where": p.where, "met": p.met, "todo": p.todo} for p in problems]
        click.echo(json.dumps({"model": str(model), "convertible": not found, "problems": found}))
    elif not problems:
        click.echo(f"{model}: every operator has an int8 kernel")
    else:
        for problem in problems:
            click.echo(f"{problem.code}  {problem}")
        click.echo(f"{model}: {_count(len(problems))} cannot be converted", err=True)
    return 3 if problems else 0


def _count(nodes: int) -> str:
    return "1 node" if nodes == 1 else f"{nodes} nodes"
