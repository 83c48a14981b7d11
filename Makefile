# Everything a person or CI needs: each target makes the environment when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_FOR_WORK := $(VENV)/.ready-for-work

STUDIES := $(basename $(notdir $(wildcard cli/studies/*.yaml)))

.PHONY: demo studies test test-slow test-long check bench chaos clean help

help:  ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): pyproject.toml
	@echo "making $(VENV) (about two minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit("isoflop needs Python 3.11 or newer: make PYTHON=python3.11 …") if sys.version_info < (3, 11) else None'
	@$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(READY_FOR_WORK): $(READY)
	@$(BIN)/pip install --quiet --disable-pip-version-check -e ".[test,exchange-test,check,lake,fast]"
	@touch $@

demo: $(READY)  ## train a small sweep, land it, fit, cross-validate, extrapolate
	@$(BIN)/isoflop demo

studies: $(READY)  ## train every study and write its page anew, docs/studies/*.md (about twenty minutes)
	@mkdir -p .studies
	@for study in $(STUDIES); do $(BIN)/isoflop study $$study --lake .studies/$$study.duckdb --out docs/studies || exit; done

test: $(READY_FOR_WORK)  ## run the tests: three processes keep two cores busy
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --timeout 600

test-slow: $(READY_FOR_WORK)  ## run the tests that are left out of those: every law, every catalog, killed processes
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --timeout 900 -m "slow and not long"

test-long: $(READY_FOR_WORK)  ## run the tests that take an hour and more: coverage, fuzz of 100,000 statements
	@$(BIN)/python -m pytest -m long

check: $(READY_FOR_WORK)  ## lint, types, layering
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY_FOR_WORK)  ## print the benchmarks, the lake's beside MLflow, TensorBoard and plain DuckDB
	@$(BIN)/python -m tests.bench

chaos: $(READY_FOR_WORK)  ## live through 300 random moments (about half an hour); print what was left
	@$(BIN)/python -m tests.chaos

clean:  ## remove the environment and the demo's lake
	@rm -rf $(VENV) demo.duckdb demo.duckdb.* .studies
