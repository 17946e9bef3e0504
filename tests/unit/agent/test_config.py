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


@pytest.mark.parametrize(
    ("gateway", "code", "line", "said"),
    [
        pytest.param("colour = 1", "HT103", 7, "gateway.colour", id="unknown key"),
        pytest.param("bauds = 1", "HT103", 7, "did you mean `baud`?", id="nearly a key"),
        pytest.param("ports = ['socket://a']", "HT104", 7, "socket://HOST:PORT", id="no address"),
        pytest.param("ports = ['http://a:1']", "HT104", 7, "socket://HOST:PORT", id="a web page"),
        pytest.param("ports = ['']", "HT104", 7, "must name a port", id="empty port"),
        pytest.param("remote = true", "HT104", 6, "names no port", id="no port"),
        pytest.param("ports = ['/x']\nbaud = 7", "HT104", 8, "greater than", id="baud"),
        pytest.param("ports = ['/x']\npoll_s = 0", "HT104", 8, "greater than", id="poll"),
        pytest.param(
            "[[gateway.devices]]\nport = '/x'\nname = 'A b'", "HT104", 9, "a-z", id="name"
        ),
        pytest.param("[[gateway.devices]]\nname = 'a'", "HT104", 7, "found by", id="no port or id"),
        pytest.param(
            "[[gateway.devices]]\nname = 'a'\nport = '/x'\n[[gateway.devices]]\nname = 'a'\n"
            "port = '/y'", "HT104", 6, "two devices have the name 'a'", id="name twice",
        ),
        pytest.param(
            "[[gateway.devices]]\nname = 'pi-1'\nport = '/x'", "HT104", 1, "own name", id="ours"
        ),
        pytest.param("[[gateway.devices]]\nname = 'a'\nid = 'XY'", "HT104", 9, "id", id="chip"),
    ],
)  # fmt: skip
def test_a_wrong_gateway_is_told_with_file_line_and_column(
    tmp_path: Path, gateway: str, code: str, line: int, said: str
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f"{GOOD}[gateway]\n{gateway}\n")
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(path, {})
    assert caught.value.code == code
    assert str(caught.value).startswith(f"{path}:{line}:")
