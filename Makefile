# Every target sets up what it needs: a fresh machine with Python 3.11 or newer, git and make is enough.

PYTHON ?= $(firstword $(foreach name,python3 python,$(shell command -v $(name) 2>/dev/null)))

ifeq ($(OS),Windows_NT)
  BIN := .venv/Scripts
else
  BIN := .venv/bin
endif

PIP := $(BIN)/python -m pip install -q -c constraints.txt
INPUTS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-packaging test-floors test-container record lint bench validity clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.hf ## Gate a healthy and an untrained demo adapter, offline.
	@$(BIN)/sway demo

test: .venv/.dev ## Run the fast tests.
	$(BIN)/python -m pytest -q -m "not slow" -n 2

test-all: .venv/.dev ## Run all tests.
	$(BIN)/python -m pytest -q -n 2

test-packaging: .venv/.dev ## Run the hooks and the action for real; takes minutes.
	$(BIN)/python -m pytest -q tests/packaged

test-floors: .venv/.dev ## Install the oldest versions that pyproject.toml allows, and use them.
	$(BIN)/python -m pytest -q tests/test_floors.py

test-container: .venv/.dev ## Build the image and test it; skipped where no container engine runs.
	$(BIN)/python -m pytest -q tests/container

record: .venv/.dev ## Record anew what the commands say and judge, where that is meant to change.
	$(BIN)/python -m tools.record

lint: .venv/.dev ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict sway_gate

validity: .venv/.dev ## Build the zoo of adapters, gate it, write benchmarks/results/validity.md (hours).
	$(PIP) matplotlib
	$(BIN)/python -m benchmarks.validity.zoo
	$(BIN)/python -m benchmarks.validity.run
	$(BIN)/python -m benchmarks.validity.exact_nulls > benchmarks/results/exact_nulls.md
	$(BIN)/python -m benchmarks.validity.report --picture benchmarks/results/validity.svg > benchmarks/results/validity.md

bench: .bench/.made ## Measure speed and memory against dlm-sway 0.1.0.
	.bench/ours/$(notdir $(BIN))/python benchmarks/speed.py --theirs .bench/theirs/$(notdir $(BIN))/python

clean: ## Remove what the other targets made.
	rm -rf .venv .bench build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# A stamp tells what is installed; it is older than its inputs when they have changed.

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/it")'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.hf: .venv/.made $(INPUTS)
	$(PIP) -e ".[hf]"
	@touch $@

.venv/.dev: .venv/.hf
	$(BIN)/python -m pip install -q "pip>=25.1"
	$(PIP) --group dev -e ".[hf,semsim,style,dlm,viz]"
	@touch $@

# Each side in an environment of its own, with what its users install and nothing else.
.bench/.made: $(INPUTS)
	$(PYTHON) -m venv .bench/ours
	.bench/ours/$(notdir $(BIN))/python -m pip install -q -c constraints.txt -e ".[hf]"
	$(PYTHON) -m venv .bench/theirs
	.bench/theirs/$(notdir $(BIN))/python -m pip install -q -c constraints.txt "dlm-sway[hf]==0.1.0"
	@touch $@
