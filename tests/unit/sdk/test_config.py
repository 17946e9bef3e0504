"""deploy.toml: what is accepted, and errors that name file, line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardtack.config import find_config, load_config
from hardtack.quantities import format_size, parse_share, parse_size, parse_time
from hardtack_agent.toml_locations import Location, locate_keys
from hardtack_runtime.errors import ConfigError

ROOT = Path(__file__).parents[3]
MODEL = 'version = 1\n[model]\npath = "m.onnx"\n'


def fault(tmp_path: Path, text: str) -> ConfigError:
    path = tmp_path / "deploy.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return caught.value


def test_the_deployment_in_the_repository_loads() -> None:
    config = load_config(ROOT / "deploy.toml")
    assert config.project.name == "digits"
    assert config.gates.size == 16 * 1024
    assert config.gates.max_drop == pytest.approx(0.01)
    assert (ROOT / config.model.path).is_file()


def test_the_smallest_deployment_loads(tmp_path: Path) -> None:
    (tmp_path / "deploy.toml").write_text(MODEL)
    assert load_config(tmp_path / "deploy.toml").target[0].hardware == "any"


@pytest.mark.parametrize(
    ("text", "place", "todo"),
    [
        pytest.param(MODEL + 'lables = "x"\n', "4:1", "`labels`", id="in a table"),
        pytest.param(MODEL + "[quantise]\n", "4:1", "`quantize`", id="a table"),
        pytest.param(
            MODEL + '[data]\n  calibrate = { path = "a", maxx = 1 }\n', "5:29", "`max`", id="inline"
        ),
        pytest.param(
            MODEL + '[[target]]\nname = "a"\n[[target]]\nname = "b"\nrom = "1 KiB"\n', "8:1",
            "`ram`", id="second of an array",
        ),
        pytest.param("verzion = 1\n" + MODEL, "1:1", "`version`", id="at the top"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_located_and_a_near_one_suggested(
    tmp_path: Path, text: str, place: str, todo: str
) -> None:
    error = fault(tmp_path, text)
    assert error.code == "HT103"
    assert error.where == f"{tmp_path / 'deploy.toml'}:{place}"
    assert todo in error.todo


@pytest.mark.parametrize(
    ("text", "place", "met"),
    [
        pytest.param(MODEL + "[gates]\nsize = 48\n", "5:1", "48 KiB", id="number without unit"),
        pytest.param(MODEL + '[gates]\nsize = "48 kilo"\n', "5:1", "unit", id="unknown unit"),
        pytest.param(MODEL + '[gates]\nmax_drop = "120 %"\n', "5:1", "less", id="over 100 %"),
        pytest.param("version = 2\n[model]\npath = 'm'\n", "1:1", "version", id="schema 2"),
        pytest.param("version = 1\n", "1:1", "missing", id="no model"),
        pytest.param(MODEL + '[project]\nname = "A b"\n', "5:1", "name", id="bad name"),
        pytest.param(MODEL + '[project]\nrelease = "1.0"\n', "5:1", "release", id="not semver"),
        pytest.param(MODEL + '[quantize]\nmethod = "kl"\n', "5:1", "method", id="not a choice"),
        pytest.param(
            MODEL + "[quantize]\nmultiplier_bits = 12\n", "5:1", "31", id="bits of multipliers"
        ),
    ],
)
def test_a_wrong_value_is_located(tmp_path: Path, text: str, place: str, met: str) -> None:
    error = fault(tmp_path, text)
    assert error.code == "HT104"
    assert error.where.endswith(f":{place}")
    assert met in error.met


def test_a_syntax_error_is_located(tmp_path: Path) -> None:
    error = fault(tmp_path, 'version = 1\n[model\npath = "x"\n')
    assert error.code == "HT102"
    assert ":2:" in error.where


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hardtack init") as caught:
        find_config(tmp_path)
    assert caught.value.code == "HT101"


def test_binary_content_is_no_toml(tmp_path: Path) -> None:
    path = tmp_path / "deploy.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.code == "HT102"


def test_the_file_is_found_from_a_folder_below(tmp_path: Path) -> None:
    (tmp_path / "deploy.toml").write_text(MODEL)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_config(below) == tmp_path / "deploy.toml"


def test_quoted_and_dotted_keys_are_located() -> None:
    places = locate_keys('a.b = 1\n["x y"]\n"k" = 2\n')
    assert places[("a", "b")] == Location(1, 1)
    assert places[("x y", "k")] == Location(3, 1)


@pytest.mark.parametrize(
    ("text", "size"), [("48 KiB", 49152), ("1.5MiB", 1572864), ("2 kB", 2000), ("7 B", 7)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(("text", "seconds"), [("20 ms", 0.02), ("10 s", 10), ("2 min", 120)])
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "KiB", "-1 KiB", "1 parsec", "1e3 B"])
def test_nonsense_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"number|unit|negative"):
        parse_size(text)


def test_shares_and_formats() -> None:
    assert parse_share("1.5 %") == pytest.approx(0.015)
    assert format_size(47 * 1024 + 512) == "47.5 KiB"
