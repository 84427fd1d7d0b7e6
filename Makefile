# Every target sets up what it needs: a machine with Python 3.11 to 3.13, pip and venv is enough.
#   make test PYTHON=python3.12     uses that interpreter, in an environment of its own (.venv-python3.12)

PYTHON ?= python3
VENV   := $(if $(filter command environment,$(firstword $(origin PYTHON))),.venv-$(notdir $(PYTHON)),.venv)
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
STUDY  ?= configs/translation.yaml configs/flow_digits_short.yaml
WORKERS ?= 2

.DEFAULT_GOAL := help
# What depends on the passes of XLA, which the other targets switch off.
COMPILED := $(addprefix tests/test_,sorting.py wasserstein1d.py sliced_values.py sliced_derivatives.py gpu.py)

.PHONY: help install sweep test test-slow test-optimized lint format bench docs clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

install: $(STAMP)  ## Create the virtual environment and install swjax with its extras.

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "swjax needs Python 3.11 to 3.13; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Use make PYTHON=python3.12 ..."; exit 2; }
	@echo "Setting up $(VENV) (once; about half a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv || true
	@if [ -x $(BIN)/uv ]; then $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -e '.[dev]'; \
	  else $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'; fi
	@touch $@

sweep: $(STAMP)  ## The main job: run the default studies (or STUDY=configs/....yaml) and write their reports.
	@$(BIN)/swjax run $(STUDY)

test: $(STAMP)  ## All fast tests.
	@$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) -q

test-slow: $(STAMP)  ## The other tests and studies, of seconds to minutes each.
	@$(BIN)/python -m pytest -m slow -n $(WORKERS) -q

test-optimized: $(STAMP)  ## The fast tests of values and derivatives, compiled as users compile.
	@SWJAX_TEST_XLA=default $(BIN)/python -m pytest -m "not slow" -n $(WORKERS) -q $(COMPILED)

lint: $(STAMP)  ## Formatting, lint and static types.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyrefly check --python-interpreter-path $(BIN)/python

format: $(STAMP)  ## Format and repair what can be repaired automatically.
	@$(BIN)/ruff check --fix --exit-zero --quiet .
	@$(BIN)/ruff format --quiet .

bench: $(STAMP)  ## Speed against the peers: one process, interleaved, medians and ratios.
	@$(BIN)/python experiments/benchmarks/sliced_is_faster_than_peers.py
	@$(BIN)/python experiments/benchmarks/particles_are_faster_than_loops.py --largest 10000 --rounds 5
	@$(BIN)/python experiments/benchmarks/sliced_flow_steps_are_faster_than_loops.py --largest 4000 --rounds 3

docs: $(STAMP)  ## The documentation site, in site/index.html.
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[docs]' || $(BIN)/python -m pip install --quiet -e '.[docs]'
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs site
	@echo "Open site/index.html"

clean:  ## Remove the virtual environments and caches (never the runs).
	rm -rf .venv .venv-* .pytest_cache .ruff_cache
