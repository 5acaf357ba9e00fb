# `make` lists the targets. Each does its own set-up: a fresh machine needs Python 3.11,
# 3.12 or 3.13 with venv, make and a network. The environment is .venv; to use another
# interpreter or folder: `make test PYTHON=/path/to/python3.12 VENV=/path/to/folder`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
# Processes of a test run; tests/conftest.py gives each one thread.
WORKERS ?= 2
# pip draws its progress bars where a person watches and is silent in a log.
PIP_INSTALL := install --disable-pip-version-check $(shell test -t 2 || echo -qq)

BACKEND_TESTS := tests/layers tests/models tests/losses tests/metrics \
	tests/optimizers \
	tests/test_geometry.py tests/test_warp.py tests/test_device_augmentation.py \
	tests/inference/test_calibration.py \
	tests/test_train_on_arrays.py tests/test_examples.py tests/test_keras_io_example.py

JAX_ONLY_TESTS ?= $(BACKEND_TESTS)

PYTEST := $(BIN)/python -m pytest -q -n $(WORKERS)
HAS_TORCH = $(BIN)/python -c 'import importlib.util as u, sys; \
	sys.exit(u.find_spec("torch") is None)'

# Of the tests that `make test` leaves out, those that CI runs.
CI_SLOW_TESTS := tests/cli tests/test_old_files.py tests/test_packaging.py \
	tests/test_structure.py tests/docs/test_site.py tests/docs/test_tutorials.py \
	tests/datasets/test_folder_deals.py tests/training/adaptation \
	tests/training/test_own_parts.py tests/training/test_fit.py \
	tests/saved_models/exporting tests/saved_models/server/test_server.py

export PYTHONUNBUFFERED := 1

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' \
		$(firstword $(MAKEFILE_LIST))

# --- Set-up ---

# TensorFlow has no wheels for Python 3.14 yet.
define PYTHON_FITS
import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
endef
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)

# Candidates are run, not only looked up: a version manager may keep a name on the path
# whose interpreter is not there. An environment that is there is kept if it works.
$(BIN)/.created:
	@if $(BIN)/python -c 'import pip; $(PYTHON_FITS)' 2>/dev/null; then \
		touch $@; exit; \
	fi; \
	for python in $(CANDIDATES); do \
		if "$$python" -c '$(PYTHON_FITS)' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
		echo "No Python 3.11, 3.12 or 3.13 with the venv module was found (tried:" \
			"$(CANDIDATES)); install one, or name one: PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv $(VENV); \
	if ! $(BIN)/python -c 'import pip; $(PYTHON_FITS)'; then \
		echo "$(VENV) was there and holds an unfit Python; delete that folder" >&2; \
		exit 1; \
	fi; \
	touch $@

# A stamp is written only after pip has succeeded, so an interrupted installation is
# taken up again by the next call.
$(BIN)/.installed: $(BIN)/.created setup.cfg pyproject.toml
	@echo "Installing scn-keras and TensorFlow into $(VENV) (first time: a few minutes)"
	@$(BIN)/python -m pip $(PIP_INSTALL) --editable .
	@touch $@

$(BIN)/.installed-dev: $(BIN)/.created setup.cfg pyproject.toml
	@echo "Installing scn-keras[dev] into $(VENV) (first time: a few minutes)"
	@$(BIN)/python -m pip $(PIP_INSTALL) --editable '.[dev]'
	@touch $(BIN)/.installed $(BIN)/.installed-docs $@

# --- What a user runs ---

.PHONY: demo
demo: $(BIN)/.installed ## Train, evaluate, export and predict on synthetic hands
	@$(BIN)/scn-keras demo

.PHONY: benchmark
benchmark: $(BIN)/.installed-dev ## Measure speed
	@$(BIN)/python -m benchmarks

# --- Documentation ---

$(BIN)/.installed-docs: $(BIN)/.created setup.cfg pyproject.toml
	@echo "Installing scn-keras[docs] into $(VENV) (first time: a few minutes)"
	@$(BIN)/python -m pip $(PIP_INSTALL) --editable '.[docs]'
	@touch $(BIN)/.installed $@

# -E: pages also depend on the code, whose changes Sphinx does not see.
.PHONY: site
site: $(BIN)/.installed-docs ## Build the documentation in build/site
	@KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m sphinx -q -W -E \
		--keep-going -b html -d build/site-doctrees docs build/site
	@echo "Open build/site/index.html"

.PHONY: tutorials
tutorials: $(BIN)/.installed-docs ## Run the tutorials in full and store their outputs
	@cd docs && ../$(BIN)/python -m _extensions.run_tutorials $(NAMES)

.PHONY: lecture
lecture: $(BIN)/.installed-docs ## Build the slides of the lecture in build/lecture
	@cd docs && ../$(BIN)/python -m _extensions.lecture ../build/lecture

# --- Checks ---

.PHONY: test
test: lint ## Check style, types and imports; run the tests that take little time
	@$(MAKE) --no-print-directory backends SELECT='-m "not slow"'

.PHONY: test-all
test-all: lint backends test-pythons test-jax-only ## Run everything there is

.PHONY: test-slow
test-slow: $(BIN)/.installed-dev ## Run what CI runs of the slow tests
	@echo "== Slow tests on TensorFlow"
	@KERAS_BACKEND=tensorflow $(PYTEST) -m slow $(CI_SLOW_TESTS)

.PHONY: backends
backends: $(BIN)/.installed-dev
	@echo "== Tests on TensorFlow"
	@KERAS_BACKEND=tensorflow $(PYTEST) $(SELECT)
	@echo "== Tests on JAX"
	@KERAS_BACKEND=jax $(PYTEST) $(SELECT) $(BACKEND_TESTS)
	@if $(HAS_TORCH); then \
		echo "== Tests on PyTorch"; \
		KERAS_BACKEND=torch $(PYTEST) $(SELECT) $(BACKEND_TESTS); \
	else \
		echo "== Tests on PyTorch: NOT RUN, torch is not installed in $(VENV)"; \
	fi

.PHONY: lint
lint: $(BIN)/.installed-dev ## Check style, types and the direction of imports
	@echo "== Style"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { \
		echo "Not formatted, run: make format"; $(BIN)/ruff format --check .; exit 1; }
	@echo "== Types"
	@$(BIN)/python -m mypy --no-error-summary
	@echo "== Imports"
	@report=$$($(BIN)/lint-imports --no-cache 2>&1) || { echo "$$report"; exit 1; }

.PHONY: format
format: $(BIN)/.installed-dev ## Format the code
	@$(BIN)/ruff check --quiet --fix --exit-zero .
	@$(BIN)/ruff format .

# The wheel as a user gets it: in a fresh environment of each Python, in a folder from
# which the checkout cannot be imported.
PYTHONS := 3.11 3.12 3.13
# All of them if empty.
WHEEL_TESTS ?=

.PHONY: test-pythons
test-pythons: $(PYTHONS:%=test-python-%) ## Test the wheel on Python 3.11, 3.12, 3.13

.PHONY: $(PYTHONS:%=test-python-%)
$(PYTHONS:%=test-python-%): test-python-%: wheel
	@for python in python$* $(wildcard $(HOME)/.pyenv/versions/$*.*/bin/python); do \
		if "$$python" -c 'import venv, ensurepip' 2>/dev/null; \
		then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
		echo "== Wheel on Python $*: NOT TESTED, no python$* was found"; exit; \
	fi; \
	echo "== Wheel on $$("$$found" --version)"; \
	folder=build/pythons/$*; \
	rm -rf $$folder; mkdir -p $$folder; \
	"$$found" -m venv $$folder/venv; \
	$$folder/venv/bin/python -m pip $(PIP_INSTALL) "$$(ls build/wheel/*.whl)[test]"; \
	cp -r tests setup.cfg $$folder; \
	export SCN_KERAS_SHARED_DATA="$${SCN_KERAS_SHARED_DATA:-$(CURDIR)/../shared/data}"; \
	cd $$folder; \
	venv/bin/scn-keras --help >/dev/null; \
	KERAS_BACKEND=tensorflow venv/bin/python -m pytest -q -n $(WORKERS) $(WHEEL_TESTS); \
	rm -rf venv

# The library with nothing but Keras, NumPy and JAX, against TensorFlow's numbers, and
# training on arrays, by the command: that needs click.
.PHONY: test-jax-only
test-jax-only: wheel ## Test the library without TensorFlow, on JAX alone
	@echo "== Library on Keras, NumPy and JAX alone"
	@folder=build/jax-only; \
	rm -rf $$folder; mkdir -p $$folder; \
	KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 TF_ENABLE_ONEDNN_OPTS=0 \
		$(BIN)/python tests/backend_numbers.py $$folder/numbers.npz >/dev/null; \
	$(BIN)/python -m venv $$folder/venv; \
	$$folder/venv/bin/python -m pip $(PIP_INSTALL) keras numpy jax click pytest \
		pytest-xdist; \
	$$folder/venv/bin/python -m pip $(PIP_INSTALL) --no-deps "$$(ls build/wheel/*.whl)"; \
	cp -r tests setup.cfg $$folder; \
	cd $$folder; \
	SCN_KERAS_NUMBERS=$$PWD/numbers.npz KERAS_BACKEND=jax venv/bin/python -m pytest -q \
		-n $(WORKERS) $(JAX_ONLY_TESTS) tests/test_backends.py; \
	rm -rf venv

.PHONY: wheel
wheel: $(BIN)/.installed-dev ## Build the wheel in build/wheel
	@rm -rf build/wheel build/lib build/bdist.*
	@$(BIN)/python -m pip wheel -qq --no-deps --wheel-dir build/wheel .

.PHONY: clean
clean: ## Remove all that make made, the environment included
	@rm -rf build *.egg-info .mypy_cache .pytest_cache .ruff_cache .venv
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# The environments take 3 GB each and TensorFlow every core: one at a time, also by -j.
.NOTPARALLEL:
