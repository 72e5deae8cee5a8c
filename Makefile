# Everything runs in .venv, which these targets make and keep up to date by themselves.
#   make demo            the tour: twenty PoPs, real requests, deaths, cold starts (under four minutes)
#   make test            lint, types, layers, tests
#   make bench [ID=...]  benchmarks; writes out/bench.json
# PYTHON names the interpreter that .venv is made with.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PYTEST_ARGS ?=
# With -m or -k, one of the two runs of `make test` may have nothing to do (pytest's exit code 5).
OR_NONE := $(if $(findstring -m ,$(PYTEST_ARGS))$(findstring -k ,$(PYTEST_ARGS)),|| [ $$? -eq 5 ])
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUNTIME := $(VENV)/.stamp-runtime
DEV := $(VENV)/.stamp-dev

.PHONY: help demo test lint format bench workers guests dashboards vendor wheel clean distclean

help:  ## Show the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUNTIME)  ## Run the tour of edgesim: real processes, real requests, real deaths.
	@$(BIN)/python scripts/demo.py

# Tests within a process run two files at a time; those that start an edge come after them, alone on the machine.
test: lint  ## Lint, then run every test.
ifeq ($(findstring tests/,$(PYTEST_ARGS)),)
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --ignore tests/e2e $(PYTEST_ARGS) $(OR_NONE)
	@$(BIN)/python -m pytest tests/e2e $(PYTEST_ARGS) $(OR_NONE)
else
	@$(BIN)/python -m pytest $(PYTEST_ARGS)
endif

lint: $(DEV)  ## Check style, format, types and layers.
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "some files are not formatted: run 'make format'" >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }

format: $(DEV)  ## Format the code.
	@$(BIN)/ruff format --quiet

bench: $(DEV)  ## Run the benchmarks, or the ones named: make bench ID=rtt-model
	@$(BIN)/python -m benchmarks $(ID)

workers: $(DEV)  ## Build the sample workers from their sources.
	@$(BIN)/python workers/build.py

guests: $(DEV)  ## Build the conformance guests that are not committed into .guests/, with their tools (npm and PyPI).
	@$(BIN)/python tests/guests/build.py

dashboards: $(DEV)  ## Generate the Grafana dashboards and the metrics reference.
	@$(BIN)/python dashboards/generate.py
	@$(BIN)/python scripts/generate_metrics_reference.py

vendor: $(DEV)  ## Fetch what the HTML report carries of other projects, pinned and checked (npm).
	@$(BIN)/python scripts/vendor.py

wheel: $(DEV)  ## Build the wheel into dist/.
	@$(BIN)/python -m build --wheel --no-isolation > $(VENV)/wheel.log 2>&1 || { cat $(VENV)/wheel.log; exit 1; }
	@ls dist/*.whl

# What users need.
$(RUNTIME): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
	  echo "edgesim needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | head -n 1)." >&2; \
	  echo "Install one, or name it: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing edgesim into $(VENV) (once; half a minute or so)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --editable .
	@touch $@

# What people who change edgesim need besides; the guests extra is the C compiler of the sample workers.
$(DEV): $(RUNTIME)
	@echo "installing the development tools into $(VENV) (once)"
	@$(PIP) install --editable '.[dev,guests]'
	@touch $@

clean:  ## Remove what was built, measured and cached.
	@rm -rf build dist out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## Also stop the edge that runs from here, and remove its state, .venv and the guests.
	@if [ -x $(BIN)/edgesim ] && [ -d .edgesim ]; then $(BIN)/edgesim down --state .edgesim || true; fi
	@rm -rf $(VENV) .edgesim .guests
