"""The reference keeps up with the program: verbs, error codes, generated pages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hardtack.cli.help import page_names
from hardtack.cli.main import VERBS
from hardtack_runtime.errors import EXIT_STATUS

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "sdk/src/hardtack/pages"
SOURCES = (
    "sdk/src", "agent/runtime/src", "agent/daemon/src", "converters/src", "firmware_templates/src",
)  # fmt: skip
CODE = re.compile(r"HT\d{3}")


def codes_used() -> set[str]:
    """Return every code that is a literal of its own in our Python: those are the raised ones."""
    found: set[str] = set()
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.update([node.value] if CODE.fullmatch(node.value) else [])
    return found


def codes_tested() -> set[str]:
    """Return every code that a test names."""
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "tests").rglob("*.json")]
    return {code for path in files for code in CODE.findall(path.read_text(encoding="utf-8"))}


def test_every_raised_code_has_a_page_and_every_page_is_raised() -> None:
    assert codes_used() == set(page_names())


def test_every_code_is_named_in_a_test() -> None:
    assert sorted(codes_used() - codes_tested()) == []


@pytest.mark.parametrize("code", page_names())
def test_a_page_has_a_title_an_explanation_and_a_fix(code: str) -> None:
    text = (PAGES / f"{code}.md").read_text(encoding="utf-8")
    title, explanation, fix = text.rstrip("\n").split("\n\n")
    assert re.fullmatch(rf"# {code}: \S.*[^.]", title)
    assert explanation.endswith((".", "`"))
    assert fix.startswith("Fix: ")
    assert code[2] in EXIT_STATUS


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_in_the_reference_and_in_the_help(verb: str) -> None:
    assert f"## hardtack {verb}\n" in (ROOT / "docs/cli.md").read_text(encoding="utf-8")


def test_the_readme_shows_or_names_every_document_that_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_generated_pages_are_up_to_date() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "docs/generate.py", "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
