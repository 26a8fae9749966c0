# Everything that a person types. `make demo` and `make test` set up all they need by
# themselves: they want Python 3.11 or newer and make, nothing else. Pip's own configuration
# (pip.conf, PIP_INDEX_URL) is respected, so a company index works as usual.

PYTHON ?= python3
JOBS ?= 3
BIN := .venv/bin

# Stamps: the requirements are installed once, and again when they change.
RUN_READY := .venv/.run-requirements-installed
DEV_READY := .venv/.dev-requirements-installed

PIP_INSTALL = $(BIN)/python -m pip install -qq --no-input --disable-pip-version-check

.PHONY: help demo test check lint bench up clean
.DEFAULT_GOAL := help

help: ## show these lines
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /  make \1|/' | \
		while IFS='|' read -r name words; do printf '%-14s %s\n' "$$name" "$$words"; done

demo: $(RUN_READY) ## set up all, then show the whole system at work on local parts
	@$(BIN)/python -m cprqueue demo

test: $(DEV_READY) ## set up all, then run every test
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadgroup

check: lint test ## what CI runs: lint, format, types, import rules, tests

lint: $(DEV_READY) ## check without the tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(RUN_READY) ## measure speed, calls and memory, each beside its yardstick
	@$(BIN)/python -m benchmarks

up: $(RUN_READY) ## start the real system with the settings in .env
	@$(BIN)/python -m cprqueue up

clean: ## remove what the tools made; keep var/, where the data is
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is made anew where its Python is gone or too old. Everything that can be
# missing on a bare machine is said in one line, with the cure.
.venv/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null || { \
		echo "error: there is no $(PYTHON): install Python 3.11 or newer, or say which: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $$($(PYTHON) --version) is too old: install Python 3.11 or newer, or say which: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "error: this Python has no venv module: apt-get install python3-venv (Debian, Ubuntu), then again" >&2; exit 1; }
	@echo "Making a Python environment in .venv"
	@$(PYTHON) -m venv --clear .venv

$(RUN_READY): .venv/pyvenv.cfg requirements.txt pyproject.toml
	@echo "Installing what the product runs on into .venv (once; about a minute)"
	@$(PIP_INSTALL) -r requirements.txt -e .
	@touch $@

$(DEV_READY): $(RUN_READY) requirements-dev.txt
	@echo "Installing what the tests run on into .venv (once)"
	@$(PIP_INSTALL) -r requirements-dev.txt
	@touch $@
