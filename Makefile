# `make demo` shows a first report, `make test` runs everything that is checked, `make lab` opens the tour.
# All of it happens in .venv and outputs/; each command may be run again.

VENV ?= .venv
BIN := $(VENV)/bin
suitable := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
    if "$$p" -c '$(suitable)' 2>/dev/null; then command -v "$$p"; break; fi; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq -c requirements.lock

# One process more than there are cores, since tests that start programs often wait for them.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Recorded market data for the tests, where it lies beside the checkout.
TRADING_REAL_DATA ?= $(abspath $(wildcard ../shared/data/real))
export TRADING_REAL_DATA

.PHONY: help demo test test-long lab lock clean
help:
	@echo "make demo   install, run the daily job on the simulated market, say where the report is"
	@echo "make test   install what tests need, run all of them"
	@echo "make lab    open the five-minute tour in JupyterLab"
	@echo "make test-long   the tests that draw at random, with ten times the draws"

demo: $(VENV)/installed
	@$(BIN)/trading run daily --since 90d

lab: $(VENV)/installed
	@$(BIN)/jupyter lab nbs/tour.ipynb

test: $(VENV)/installed-dev
	@$(PYTEST) $(ARGS)

# What chance could hide: full sizes of the tests that draw at random. `make test` draws a part of them.
test-long: $(VENV)/installed-dev
	@TRADING_TESTS=long $(PYTEST) \
	    tests/backtest/test_sharpe.py tests/backtest/test_engines_agree.py \
	    tests/data/test_quality_fuzz.py tests/data/test_json_fuzz.py tests/data/test_yahoo_fuzz.py \
	    tests/data/test_stream_fuzz.py tests/data/test_kept_fuzz.py tests/execution/test_answers_fuzz.py $(ARGS)

$(VENV)/installed: pyproject.toml requirements.lock $(BIN)/python
	@echo "Installing into $(VENV) (one to four minutes, once)"
	@$(PIP) -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml requirements.lock $(BIN)/python
	@echo "Installing into $(VENV), with what the tests need (one to four minutes, once)"
	@$(PIP) --no-compile -e '.[dev]'  # what is needed is compiled when it is
	@touch $@ $(VENV)/installed

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
	    echo "No suitable Python: 3.11, 3.12 or 3.13 with its venv module is needed (found: $$(python3 --version 2>&1))."; \
	    echo "Debian, Ubuntu: apt install python3 python3-venv. Elsewhere: https://www.python.org/downloads/"; \
	    echo "If you have one under another name: make $(MAKECMDGOALS) PYTHON=/path/to/python"; \
	    exit 1; fi
	@"$(PYTHON)" -c '$(suitable)' || { \
	    echo "$(PYTHON) does not do: Python 3.11, 3.12 or 3.13 with venv and ensurepip is needed."; exit 1; }
	@"$(PYTHON)" -m venv $(VENV)
	-@$(PIP) --upgrade pip  # that of Python 3.11 takes twice as long

lock: $(VENV)/installed-dev
	@$(BIN)/python -m pip freeze --all --exclude-editable | grep -E '^[A-Za-z0-9._-]+==[^ ]+$$' | grep -vE '^(pip|wheel)==' > requirements.lock
	@echo "requirements.lock: $$(wc -l < requirements.lock) packages"

clean:
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
