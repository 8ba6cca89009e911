# make run · make test · make bench · make setup. Each sees to its own virtual environment.
PYTHON ?= python3.11
PROFILE ?= quick
MIRROR ?=
WORKERS ?= 2
ONLY ?=
LONG ?=
BIN := .venv/bin
MIRROR_OPTION := $(if $(MIRROR),--mirror $(MIRROR))

READY := .venv/.ready .venv/.installed

.PHONY: run test lint setup bench clean

run: $(READY)  ## retrain shakespeare and imdb; MIRROR=DIR takes the files from there
	$(BIN)/folio run shakespeare imdb --profile $(PROFILE) --allow-sample $(MIRROR_OPTION)

# A file's tests share what they set up, so they stay together; slow files come first.
test: $(READY)  ## the tests, in WORKERS processes
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check .

bench: $(READY)  ## measured comparisons, under 30 minutes; ONLY=prep for one, LONG=1 for all
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(LONG),--long) $(MIRROR_OPTION)

setup: $(READY)

.venv/.ready: requirements.txt
	@echo "folio: making .venv from requirements.txt (once; some 2 GB, a few minutes)"
	@command -v $(PYTHON) >/dev/null || { echo "folio: $(PYTHON) not found; install Python 3.11 or say make PYTHON=…"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	@touch $@

# The command and what MLflow finds of Folio by name stand in pyproject.toml.
.venv/.installed: .venv/.ready pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

clean:
	rm -rf .venv data/store data/runs data/prefect data/mlflow
