# make demo   sets up what the job needs (no torch) and runs it on a synthetic archive
# make test   sets up the rest and passes the tests
# Both put their environment into .venv and reuse it; requirements.lock pins every version.

PYTHON ?= python3
BIN := .venv/bin
LOCKED := PIP_CONSTRAINT=requirements.lock $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test chaos fuzz bench lint format clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv .venv

.venv/.installed-run: .venv/pyvenv.cfg pyproject.toml requirements.lock
	$(LOCKED) --editable .
	@touch $@

.venv/.installed-dev: .venv/.installed-run
	$(LOCKED) --editable '.[dev]'
	@touch $@

setup: .venv/.installed-run  ## environment for CPU runs

setup-dev: .venv/.installed-dev  ## environment for training, tests and lint

demo: setup  ## run the job on a synthetic archive in ./demo-archive
	$(BIN)/batch-fracture demo demo-archive

test: setup-dev  ## all tests (the real radiographs are used where ../shared holds them)
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder  # many tests wait for Ray to start

chaos: setup-dev  ## kill runs at random moments, on disk and on S3, and check the books (ARGS='--cases 4')
	$(BIN)/python tests/chaos.py $(ARGS)

fuzz: setup-dev  ## a million broken files: each one row, memory and words in bounds (ARGS='--files 20000 --seed 7')
	$(BIN)/python tests/fuzz.py $(ARGS)

bench: setup-dev  ## all benchmarks, some 75 minutes; each alone: see benchmarks/README.md
	$(BIN)/python -m benchmarks.plan_scale
	$(BIN)/python -m benchmarks.run_memory
	$(BIN)/python -m benchmarks.s3_speed
	$(BIN)/python -m benchmarks.dicom_speed
	$(BIN)/python -m benchmarks.throughput
	$(BIN)/python -m benchmarks.growth

lint: setup-dev  ## style, layout and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: setup-dev  ## put the code in shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## remove the environment and what the demo made
	rm -rf .venv demo-archive .mypy_cache .ruff_cache .pytest_cache
