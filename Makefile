# What a person or a machine does with this repository; `make help` lists it.

PYTHON ?= python3
UV_VERSION := 0.13.9
GPUS ?= 10000
FLOWS ?= 1
JOBS ?= 2
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

VENV := .venv
PY := $(VENV)/bin/python
# Whatever the person's shell says, the project's own environment is the one that is used.
unexport PYTHONPATH PYTHONHOME
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUNBUFFERED := 1
PIP_INSTALL := $(PY) -m pip install --quiet --progress-bar off

CREATED := $(VENV)/.created
DEMO_STAMP := $(VENV)/.installed-demo
DEV_STAMP := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help install demo test lint types pytest bench lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(CREATED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "error: tokenmill needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1); set PYTHON=/path/to/python3.11" >&2; \
	    exit 1; }
	@echo "creating $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv $(VENV) || { \
	    echo "error: $(PYTHON) cannot make a virtual environment; on Debian install python3-venv" >&2; exit 1; }
	@touch $@

# A lock is complete, so nothing is resolved: each file is taken as it is named and held to its hash. The project itself
# goes in as it stands here.
$(DEMO_STAMP): infra/locks/demo.txt pyproject.toml | $(CREATED)
	@echo "installing the pipeline and the demo from infra/locks/demo.txt"
	@$(PIP_INSTALL) --require-hashes --no-deps -r infra/locks/demo.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_STAMP): infra/locks/dev.txt pyproject.toml | $(CREATED)
	@echo "installing everything from infra/locks/dev.txt"
	@$(PIP_INSTALL) --require-hashes --no-deps -r infra/locks/dev.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@ $(DEMO_STAMP)

install: $(DEV_STAMP) ## make .venv with everything that the tests and the benchmarks need

demo: $(DEMO_STAMP) ## a simulated fleet, a broker, the flows and both tables; FLOWS=0 without Prefect
	@$(VENV)/bin/tokenmill demo $(if $(filter 0,$(FLOWS)),--no-flows)

test: lint types pytest ## lint, types and all tests, a real Apache Kafka included

lint: $(DEV_STAMP) ## ruff: rules and form
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: $(DEV_STAMP) ## mypy, strict
	@$(VENV)/bin/mypy

pytest: $(DEV_STAMP) ## all tests, JOBS=2 at a time; ARGS="-k name" picks some
	@$(PY) -m pytest $(if $(filter-out 0 1,$(JOBS)),-n $(JOBS) --dist loadfile) $(ARGS)

bench: $(DEV_STAMP) ## the benchmarks, as a table; GPUS=100000 for the large one
	@GPUS=$(GPUS) $(PY) -m tests.benchmarks

# The larger set is locked first; the smaller ones take the same versions from it.
COMPILE := $(VENV)/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
    --generate-hashes --no-emit-index-url --no-header --no-annotate
lock: $(DEV_STAMP) ## resolve infra/locks/*.txt anew from pyproject.toml
	@$(PIP_INSTALL) uv==$(UV_VERSION)
	@$(COMPILE) $(UPGRADE) --all-extras --group dev -o infra/locks/dev.txt
	@$(COMPILE) --extra pipeline --extra demo --group build -c infra/locks/dev.txt -o infra/locks/demo.txt
	@$(COMPILE) --extra pipeline -c infra/locks/dev.txt -o infra/locks/pipeline.txt
	@$(COMPILE) -c infra/locks/dev.txt -o infra/locks/agent.txt
	@$(COMPILE) --extra kubernetes -c infra/locks/dev.txt -o infra/locks/kubernetes.txt
	@wc -l infra/locks/*.txt

clean: ## remove the virtual environment, caches and the demo's data
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .tokenmill dist build
