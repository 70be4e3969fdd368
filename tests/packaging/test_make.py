"""The commands that a newcomer types say plainly what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(checkout: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    ours = ("MAKE", "MFLAGS", "VENV", "PYTHON", "ARGS")  # of the make that runs these tests
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {"PATH": path} if path else {}
    return subprocess.run(
        [str(shutil.which("make")), *arguments], cwd=checkout, env=environment, capture_output=True, text=True
    )


def fake_python(folder: Path, name: str, works: bool) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit {0 if works else 1}\n')
    (folder / name).chmod(0o755)
    return folder / name


def test_without_a_suitable_python_it_says_which_are(checkout: Path):
    fake_python(checkout / "bin", "python3", works=False)
    for name in ("sh", "touch", "rm"):
        (checkout / "bin" / name).symlink_to(str(shutil.which(name)))
    done = make(checkout, "demo", path=str(checkout / "bin"))
    assert done.returncode != 0
    assert "3.11, 3.12 or 3.13" in done.stdout
    assert "found: Python 3.9.2" in done.stdout
    assert not (checkout / ".venv").exists()


def test_an_unsuitable_python_that_was_named_is_refused_by_its_name(checkout: Path):
    old = fake_python(checkout / "bin", "python2", works=False)
    done = make(checkout, "test", f"PYTHON={old}")
    assert done.returncode != 0
    assert f"{old} does not do" in done.stdout


def test_what_make_does_is_listed(checkout: Path):
    said = make(checkout).stdout
    assert [line.split()[1] for line in said.splitlines()] == ["demo", "test", "lab", "test-long"]


def test_a_second_time_nothing_is_installed_again(checkout: Path):
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").touch()
    (checkout / ".venv" / "installed").touch()
    planned = make(checkout, "--dry-run", "demo").stdout
    assert "pip" not in planned
    assert "trading run daily" in planned
