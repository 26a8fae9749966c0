# Everything that a person types. `make demo` and `make test` set up all they need by
# themselves: they want Python 3.11 or newer and make, nothing else. Pip's own configuration
# (pip.conf, PIP_INDEX_URL) is respected, so a company index works as usual; only `make lock`
# asks uv, which reads UV_DEFAULT_INDEX instead.

PYTHON ?= python3
JOBS ?= 3
PYTEST_OPTIONS ?=
BIN := .venv/bin

# Stamps: what is locked is installed once, and again when a lock changes.
RUN_READY := .venv/.run-requirements-installed
DEV_READY := .venv/.dev-requirements-installed

PIP_INSTALL = $(BIN)/python -m pip install -qq --no-input --disable-pip-version-check
# A file's tests share what it has started once, so they run in one process. The longest files come
# first (tests/conftest.py), so that none of them is what all wait for at the end.
PYTEST = $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_OPTIONS)

# Measuring slows what runs in the test processes themselves: `make test COVERAGE=` does without.
COVERAGE ?= --cov --cov-report=

# The lock fits every Python from 3.11 on, every system and processor, and names no index.
LOCK = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-strip-extras --no-config --no-emit-index-url \
	--custom-compile-command "make lock"

.PHONY: help demo quick test test-mssql check lint lock bench mutants soak wheel up clean
.DEFAULT_GOAL := help

help: ## show these lines
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1|/' | \
		while IFS='|' read -r name words; do printf '%-14s %s\n' "$$name" "$$words"; done

demo: $(RUN_READY) ## set up all, then show the whole system at work on local parts
	@$(BIN)/python -m cprqueue demo

# Those of pushes and prunes work through whole lives of an installation.
QUICK = --ignore tests/system --ignore tests/services/push --ignore tests/services/prune -m "not slow"

quick: $(DEV_READY) ## the tests that need no processes and no minutes, for while you write
	@$(PYTEST) $(QUICK)

test: $(DEV_READY) ## set up all, then run every test and print the branch coverage
	@$(PYTEST) $(COVERAGE)

# CPR_TEST_MSSQL_URL names a database for it, with "test" in its name: its tables are dropped.
test-mssql: $(DEV_READY) ## the database's tests on the SQL Server of CPR_TEST_MSSQL_URL
	@if [ -z "$$CPR_TEST_MSSQL_URL" ]; then \
		echo "skipped: say which: make test-mssql CPR_TEST_MSSQL_URL='mssql+pyodbc://USER:PASSWORD@HOST/NAME_test?driver=...'"; \
	else CPR_TEST_ON=CPR_TEST_MSSQL_URL $(BIN)/python -m pytest -q -rs tests/store tests/services \
		tests/clients/test_budget.py tests/clients/test_budget_left.py \
		tests/system/test_other_databases.py; fi

check: lint test ## what CI runs: lint, format, types, import rules, lock files, tests, coverage

lint: $(DEV_READY) ## check without the tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q --noconftest tests/test_lock.py

lock: $(DEV_READY) ## renew both lock files: needed after a change of requirements*.txt
	@$(LOCK) --group build --output-file requirements.lock requirements.txt
	@$(LOCK) --constraints requirements.lock --output-file requirements-dev.lock requirements-dev.txt

bench: $(RUN_READY) ## measure speed, calls and memory, each beside its yardstick
	@$(BIN)/python -m benchmarks --json var/benchmarks.json --svg var/benchmarks.svg $(BENCH)

# One module: make mutants MODULE=cprqueue/store/runs.py SAMPLE=50; see docs/mutants.md.
MODULE ?=
SAMPLE ?= 14

mutants: $(DEV_READY) ## change the code at random places: do the tests notice?
	@$(BIN)/python -m tests.tools.mutants $(MODULE) --sample $(SAMPLE)

# SEED of before gives the same faults in the same order again.
SECONDS ?= 600
SEED ?=

soak: $(DEV_READY) ## all faults at once on servers of its own; then: is every job right?
	@$(BIN)/python -m tests.tools.soak --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

wheel: $(RUN_READY) ## build the wheel and the source archive into dist/
	@$(BIN)/python -c 'from setuptools import build_meta as b; b.build_sdist("dist"); b.build_wheel("dist")' >/dev/null
	@ls dist

up: $(RUN_READY) ## start the real system with the settings in .env
	@$(BIN)/python -m cprqueue up

clean: ## remove what the tools made; keep var/, where the data is
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# `make test PYTHON=python3.13`: an environment of another Python is made anew.
ifeq ($(origin PYTHON),command line)
ifneq ($(shell .venv/bin/python -V 2>/dev/null),$(shell $(PYTHON) -V 2>/dev/null))
.PHONY: .venv/pyvenv.cfg
endif
endif

# The environment is made anew where its Python is gone or too old. Everything that can be
# missing on a bare machine is said in one line, with the cure.
.venv/pyvenv.cfg:
	@$(PYTHON) --version >/dev/null 2>&1 || { \
		echo "error: there is no $(PYTHON): install Python 3.11 or newer, or say which: make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $$($(PYTHON) --version) is too old: install Python 3.11 or newer, or say which: make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "error: this Python has no venv module: apt-get install python3-venv (Debian, Ubuntu), then again" >&2; exit 1; }
	@echo "Making a Python environment in .venv"
	@$(PYTHON) -m venv --clear .venv

# Nothing is installed whose hash is not in a lock; setuptools, which builds the project, too.
$(RUN_READY): .venv/pyvenv.cfg requirements.lock pyproject.toml
	@echo "Installing what the product runs on into .venv (once; about a minute)"
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_READY): $(RUN_READY) requirements-dev.lock
	@echo "Installing what the tests run on into .venv (once)"
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@
