"""Kernels that are born of one warm process are as good as kernels that started by themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from trading_core.run.pages import PageError, PageKernel, execute_page
from trading_core.run.warm import WarmPython

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each kernel starts by itself")


def warmed(folder: Path, imports: str) -> WarmPython:
    with (folder / "warm.log").open("wb") as log:
        return WarmPython(imports, {**os.environ, "IPYTHONDIR": str(folder)}, folder, log)


@pytest.fixture
def warm(bare: Path) -> Iterator[WarmPython]:
    "One that has imported what draws by chance and what draws figures."
    made = warmed(bare, "import numpy, matplotlib.figure")
    yield made
    made.stop()


def page(folder: Path, *cells: str) -> Path:
    made = [nbformat.v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(cells)]
    kernel = {"name": "python3", "language": "python", "display_name": "python3"}
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": kernel}), folder / "page.ipynb")
    return folder / "page.ipynb"


def executed(warm: WarmPython, number: int, *cells: str) -> nbformat.NotebookNode:
    folder = Path.cwd()
    kernel = PageKernel(folder, number, {}, folder, stem=warm)
    try:
        execute_page(page(folder, *cells), folder / "out.ipynb", {}, kernel)
    finally:
        kernel.stop()
    return nbformat.read(folder / "out.ipynb", 4)


def printed(notebook: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for cell in notebook.cells for output in cell.outputs)


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_page_finds_nothing_of_another_and_draws_other_numbers(warm: WarmPython):
    cells = (
        "import os, random, sys, numpy",
        "print('left' in globals(), 'LEFT' in os.environ, hasattr(numpy, 'left'), random.random(), numpy.random.random())",
        "left = numpy.left = 1; os.environ['LEFT'] = 'here'",
    )
    first, second = (printed(executed(warm, number, *cells)).split() for number in range(2))
    assert first[:3] == second[:3] == ["False"] * 3
    assert not set(first[3:]) & set(second[3:])


def test_a_figure_of_pyplot_is_shown(warm: WarmPython):
    (cell,) = executed(warm, 0, "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()").cells
    assert [kind for output in cell.outputs for kind in output.get("data", {}) if kind == "image/png"]


def test_a_page_can_start_programs_and_learns_how_they_ended(warm: WarmPython):
    said = printed(
        executed(warm, 0, "import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'exit(7)']).returncode)")
    )
    assert said.strip() == "7"


def test_what_is_imported_comes_from_where_a_program_would_find_it_and_not_from_the_working_folder(bare: Path):
    (bare / "numpy.py").write_text("raise SystemExit('the wrong one')")
    warm = warmed(bare, "import numpy")
    kernel = warm.kernel(["--HistoryManager.hist_file=:memory:"], str(bare / "kernel.log"))
    while (pid := kernel.pid) is None and kernel.poll() is None:
        time.sleep(0.02)
    warm.stop()
    assert pid is not None


def test_imports_that_fail_are_told_by_the_page_that_needs_them(bare: Path):
    warm = warmed(bare, "import no_such_library")
    assert printed(executed(warm, 0, "print(6 * 7)")).strip() == "42"
    with pytest.raises(PageError, match="no_such_library"):
        executed(warm, 1, "import no_such_library")
    warm.stop()


def test_a_page_whose_process_dies_is_told_and_the_next_one_is_born_all_the_same(warm: WarmPython):
    with pytest.raises(PageError, match="has ended by itself"):
        executed(warm, 0, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert printed(executed(warm, 1, "print(6 * 7)")).strip() == "42"


def test_where_the_warm_process_has_died_a_page_is_told_so(warm: WarmPython):
    warm.process.kill()
    warm.process.wait()
    with pytest.raises(PageError):
        executed(warm, 0, "1")


PROGRAM = """
import os, pathlib, time
from trading_core.run.warm import WarmPython
with open("warm.log", "wb") as log:
    warm = WarmPython("", os.environ, pathlib.Path(), log)
kernel = warm.kernel(["--HistoryManager.hist_file=:memory:"], "kernel.log")
while kernel.pid is None:
    time.sleep(0.02)
print(warm.process.pid, kernel.pid, flush=True)
time.sleep(60)
"""


def test_a_run_that_is_killed_leaves_no_process_behind(bare: Path):
    run = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=bare, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    numbers = [int(word) for word in run.stdout.readline().split()]
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert [gone(pid) for pid in numbers] == [True, True]


def test_a_kernel_that_is_ended_before_it_is_born_is_never_born(bare: Path):
    warm = warmed(bare, "import time; time.sleep(60)")
    kernel = PageKernel(bare, 0, {}, bare, stem=warm)
    assert kernel.manager.is_alive()
    began = time.monotonic()
    kernel.stop()
    assert time.monotonic() - began < 10
    assert warm.process.wait(timeout=10) == -signal.SIGKILL
    warm.stop()
