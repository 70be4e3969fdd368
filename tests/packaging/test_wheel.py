"""The wheel, in an empty environment and an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "Built from a copy of the sources."
    copy = tmp_path_factory.mktemp("sources")
    for name in ("nbs/runs", "trading_core"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "dist", "."]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    (built,) = (copy / "dist").glob("*.whl")
    return built


def lend_compiled_code(package: Path) -> None:
    "What other tests have compiled of the same sources need not be compiled again: numba knows a source by size and time."
    for compiled in (ROOT / "trading_core").rglob("*.nb[ic]"):
        source = compiled.parents[1] / (compiled.name.split(".")[0] + ".py")
        place = package / compiled.parent.relative_to(ROOT / "trading_core")
        same = place.parent / source.name
        if source.is_file() and same.read_bytes() == source.read_bytes():  # a module may be gone since
            shutil.copystat(source, same)
            place.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # being written at this moment
                shutil.copy(compiled, place)


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    "`trading` of an environment that holds the wheel; its dependencies come from the one that runs the tests."
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    lend_compiled_code(own / "trading_core")
    return home / "bin" / "trading"


def test_the_wheel_holds_the_templates_and_the_marker_for_types(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"trading_core/templates/{page}.ipynb" for page in ("backtest", "signals", "trade")}
    assert expected | {"trading_core/py.typed", "trading_core/ledger/__init__.py"} <= names
    assert not [name for name in names if name.startswith(("nbs/", "tests/"))]


def test_init_and_the_daily_job_work_in_an_empty_folder(program: Path, tmp_path: Path):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TRADING_", "PYTHONPATH"))}
    small = {"TRADING_MARKET__START": "2024-01-02"}  # only to be quick

    def trading(*arguments: str) -> str:
        done = subprocess.run(
            [str(program), *arguments], cwd=tmp_path, env=clean | small, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = [str(program.with_name("python")), "-c", "import trading_core; print(trading_core.__file__)"]
    imported = subprocess.run(where, cwd=tmp_path, env=clean, check=True, capture_output=True, text=True).stdout
    assert str(program.parents[1]) in imported

    trading("init")
    assert {path.name for path in tmp_path.iterdir()} == {"settings.ini", "runs"}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {
        "backtest.ipynb",
        "coverage.ipynb",
        "signals.ipynb",
        "sweep.ipynb",
        "trade.ipynb",
    }
    (tmp_path / "settings.ini").write_text("[market]\nuniverse = crypto\n")
    assert "kept   settings.ini" in trading("init")
    assert "universe = crypto" in (tmp_path / "settings.ini").read_text()

    said = trading("run", "daily", "--as-of", "2024-06-28")
    (record,) = (tmp_path / "outputs").glob("*/run.json")
    facts = json.loads(record.read_text())
    assert (facts["status"], len(facts["pages"])) == ("done", 3)
    assert str(record.with_name("report.html")) in said
    assert "SIMULATED" in record.with_name("report.html").read_text()
