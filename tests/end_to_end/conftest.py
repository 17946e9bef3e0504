from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hardtack.fleet.broker import EmbeddedBroker
from hardtack.fleet.controller import Controller
from hardtack.fleet.store import Store
from tests.end_to_end.command import CommandLine, copy_project
from tests.end_to_end.fleet import AgentProcess

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "fleet.db")
    yield opened
    opened.close()


@pytest.fixture
def controller(broker: EmbeddedBroker, store: Store) -> Iterator[Controller]:
    with Controller(store, broker.url) as running:
        yield running


@pytest.fixture
def new_agent(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[Callable[..., AgentProcess]]:
    agents: list[AgentProcess] = []

    def make(*flags: str, device: str = "pi-1", **options: object) -> AgentProcess:
        folder = tmp_path / device
        folder.mkdir(exist_ok=True)
        agent = AgentProcess(folder, broker.url, *flags, device=device, **options)  # type: ignore[arg-type]
        agents.append(agent)
        agent.start()
        return agent

    yield make
    for agent in agents:
        agent.kill()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_project(tmp_path / "project")


@pytest.fixture
def cli(tmp_path: Path, project: Path) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path, project)
    yield line
    line.stop()


@pytest.fixture(scope="session")
def baked(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A project whose bundle is made, for tests that only read."""
    folder = tmp_path_factory.mktemp("baked")
    line = CommandLine(folder, copy_project(folder / "project"))
    line.works("convert")
    return line
