# `make help` lists the targets. Each makes the virtual environment that it needs.
PYTHON ?= python3.11
PROFILE ?= quick
MIRROR ?=
WORKERS ?= 2
ONLY ?=
FEED ?=
HOURS ?= 2
SEED ?= 1
ROWS ?=
TRIALS ?=
LONG ?=
VENV ?= .venv
BIN := $(VENV)/bin
LOCK := pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade --quiet
MIRROR_OPTION := $(if $(MIRROR),--mirror $(MIRROR))

READY := $(VENV)/.ready $(VENV)/.installed

.PHONY: help run test test-quick lint setup bench torture audit sbom lock clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY)  ## retrain shakespeare and imdb; MIRROR=DIR reads the files from DIR
	$(BIN)/folio run shakespeare imdb --profile $(PROFILE) --allow-sample $(MIRROR_OPTION)

# A file's tests share what they set up, so they stay together; slow files come first.
# The tests start hundreds of processes: none is to compile Folio again, whatever the user has set.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

test: $(READY)  ## run the tests, 10 minutes; LONG=1 for all; LONG=3/10 for a tenth of the long ones
	$(PYTEST) $(if $(findstring /,$(LONG)),--long $(LONG),$(if $(LONG),,-m "not long"))

# These tests wait for a third of their time.
test-quick: WORKERS = 3
test-quick: $(READY)  ## run the tests without training or servers, under a minute
	$(PYTEST) -m "not slow"

lint: $(READY)  ## run ruff, its formatter and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)  ## run the benchmarks, under 30 minutes; ONLY=prep for one, LONG=1 for all
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(LONG),--long) $(MIRROR_OPTION)

torture: $(READY)  ## try each promise, HOURS=2 SEED=1; ROWS="kills plans" for some of them
	$(BIN)/python -m torture --hours $(HOURS) --seed $(SEED) $(if $(TRIALS),--trials $(TRIALS)) $(if $(ROWS),--only $(ROWS))

audit: $(READY)  ## the locked versions against FEED=DIR, a folder of records of osv.dev
	$(BIN)/python -m supply audit "$(FEED)"

sbom: $(READY)  ## print the bill of materials (CycloneDX); `python -m supply licences` lists licences
	@$(BIN)/python -m supply sbom

setup: $(READY)  ## create .venv from requirements-dev.txt; for another Python: PYTHON=python3.13 VENV=.venv-3.13

# The newest versions that pyproject.toml allows; `git diff` shows what changed.
lock:  ## rewrite requirements.txt and requirements-dev.txt; needs uv
	uv pip compile $(LOCK) --extra postgresql --extra s3 --output-file requirements.txt
	uv pip compile $(LOCK) --extra dev --output-file requirements-dev.txt

# --no-compile halves the time: Python compiles what is imported, and most is not.
$(VENV)/.ready: requirements-dev.txt
	@echo "folio: making $(VENV) from requirements-dev.txt (once; 2 GB, a few minutes)"
	@command -v $(PYTHON) >/dev/null || { echo "folio: $(PYTHON) not found; install Python 3.11 to 3.13, or name yours: make PYTHON=python3.12"; exit 1; }
	@test ! -L $(VENV) || { echo "folio: $(VENV) is a link, and what it leads to would be emptied; remove the link"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements-dev.txt
	@touch $@

# The command and what MLflow finds of Folio by name stand in pyproject.toml.
$(VENV)/.installed: $(VENV)/.ready pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

clean:  ## delete .venv and the results of runs in data/
	rm -rf .venv .venv-* data/store data/runs data/prefect data/mlflow
