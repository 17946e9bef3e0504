"""agent.toml: what is wrong is said with its code and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardtack_agent.config import load_config
from hardtack_runtime.errors import ConfigError

GOOD = """
device = "pi-1"
broker = "mqtt://localhost"
state_dir = "state"
trusted_keys = "keys"
"""


def test_paths_are_relative_to_the_file_and_flags_win(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(GOOD)
    config = load_config(tmp_path / "agent.toml", {"device": "pi-2", "tenant": None})
    assert (config.device, config.tenant) == ("pi-2", "default")
    assert config.socket_path == tmp_path / "state" / "agent.sock"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("device = ", "HT102", id="syntax"),
        pytest.param(GOOD + "colour = 1", "HT103", id="unknown key"),
        pytest.param(GOOD.replace("pi-1", "a/b"), "HT104", id="name with a slash"),
        pytest.param(GOOD.replace("mqtt:", "http:"), "HT104", id="no broker address"),
        pytest.param(GOOD.replace("localhost", "[::1"), "HT104", id="half an IPv6 address"),
        pytest.param(GOOD + "telemetry_period_s = 0", "HT104", id="period of zero"),
        pytest.param("device = 'x'", "HT104", id="key missing"),
    ],
)
def test_a_wrong_file_has_a_code(tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "agent.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "agent.toml", {})
    assert caught.value.code == code


def test_a_missing_file_has_a_code(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "none.toml", {})
    assert caught.value.code == "HT101"
