"""README's code does what README says, as it is printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRADING = [sys.executable, "-c", "from trading_core.cli import main; main()"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TRADING_")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A folder with the file that README tells to write."
    made = tmp_path_factory.mktemp("readme")
    for block in blocks("python"):
        named = re.match(r"# (\w+\.py)\n", block)
        if named:
            (made / named[1]).write_text(block, encoding="utf-8")
    return made


def test_the_python_code_runs_as_printed(folder: Path):
    code = [block for block in blocks("python") if not re.match(r"# \w+\.py\n", block)]
    assert code
    for block in code:
        done = subprocess.run([sys.executable, "-c", block], cwd=folder, env=clean(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_own_strategy_takes_ten_lines_and_no_framework_file(folder: Path):
    body = (folder / "my_strategy.py").read_text().partition("@dataclass")[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= 10


def test_the_commands_run_as_printed(folder: Path):
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]
    assert [line.split()[1] for line in commands] == ["backtest", "run"]
    small = {"TRADING_MARKET__START": "2022-01-03"}  # only to be quick
    for line in commands:
        program, *arguments = shlex.split(line)
        assert program == "trading"
        done = subprocess.run(
            [*TRADING, *arguments], cwd=folder, env=clean() | small, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_every_command_and_setting_that_is_mentioned_exists():
    from trading_core.cli import app
    from trading_core.config import Sections

    names = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    names |= {group.name for group in app.registered_groups}
    assert set(re.findall(r"(?:^|`|/)trading ([a-z-]+)\b", README, re.MULTILINE)) <= names
    mentioned = set(re.findall(r"--set ([a-z]+)\.", README))
    assert mentioned - {"section"} <= set(Sections.model_fields)


def test_every_link_to_a_file_of_the_repository_leads_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
