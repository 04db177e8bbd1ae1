# What this project can do, one target each; `make help` lists them.
#   make reproduce PROFILE=smoke CORES=4      make test PYTHON=python3.12
#   make reproduce PROFILE=paper CLUSTER=profiles/slurm
PYTHON ?= python3
PROFILE ?= course
CORES ?= 2
CLUSTER ?=
RUN := .venv/bin/python -m
NOTEBOOKS := $(wildcard notebooks/[0-9]*.ipynb)

.DEFAULT_GOAL := help
.PHONY: help install reproduce test test-browser test-cluster lint format notebooks bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

reproduce: install ## run every notebook of PROFILE (smoke, course, paper) that is out of date, and write the report
	@$(RUN) aotlib reproduce --profile "$(PROFILE)" --cores "$(CORES)" $(if $(CLUSTER),--cluster "$(CLUSTER)")

test: lint ## check style, then run the unit tests, the examples in docstrings, and the committed notebooks
	@OMP_NUM_THREADS=1 $(RUN) pytest -n 2 --nbval-lax --nbval-current-env --nbval-cell-timeout=300 \
	  --ignore tests/browser tests aotlib $(NOTEBOOKS)

test-browser: install ## use report and user study in a browser (Chromium with its driver, or Chrome)
	@OMP_NUM_THREADS=1 $(RUN) pytest tests/browser/*.py

test-cluster: install ## run the smoke graph on a Slurm that is installed and started here (Debian or Ubuntu, root or sudo)
	@tests/cluster/run.sh

lint: install ## check the style of the code
	@$(RUN) ruff check --quiet .
	@$(RUN) ruff format --check --quiet . || { echo "make format puts the files above in order"; exit 1; }

format: install ## put the code into the style that lint checks
	@$(RUN) ruff check --fix --quiet .
	@$(RUN) ruff format .

notebooks: install ## build the executed notebooks whose sources in notebooks/source changed
	@.venv/bin/python notebooks/build.py

bench: install ## measure speed on this machine for a quarter of an hour, leave it alone meanwhile -> results/bench/
	@$(RUN) aotlib bench

lock: install ## pin the newest versions that pyproject.toml allows in requirements.lock
	@$(RUN) uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml --output-file requirements.lock

clean: ## remove the results of notebooks, smoke and course, and caches; keeps .venv and all other results
	rm -rf results/notebook results/smoke results/course .pytest_cache .ruff_cache aotlib/__pycache__ tests/__pycache__

# Installs again when the content of the two files changed (not their times), or when the folder has moved.
install: ## make .venv and install the pinned packages, if that is not done yet
	@set -e; \
	sum=`cat requirements.lock pyproject.toml | (sha256sum 2>/dev/null || shasum -a 256)`; here=`pwd -P`; \
	old=`cat .venv/.installed 2>/dev/null || true`; \
	if [ "$$old" = "$$sum $$here" ] && [ -x .venv/bin/python ]; then exit 0; fi; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is `$(PYTHON) --version 2>&1 | tail -1`."; \
	  echo "Name another one: make PYTHON=python3.12"; exit 1; }; \
	case "$$old" in ""|*" $$here") ;; *) rm -rf .venv;; esac; \
	[ -x .venv/bin/python ] || $(PYTHON) -m venv --clear .venv; \
	echo "installing the pinned packages into .venv; the first time this takes some minutes and about 6 GB"; \
	$(RUN) pip install --quiet --disable-pip-version-check -r requirements.lock; \
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	echo "$$sum $$here" > .venv/.installed
