# The two commands of the README, and what keeps the project in order.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# What a user's shell has set for another project must not reach this one.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.PHONY: run test lint lock clean

run: .venv/installed
	@dvc repro
	@trunkline report

test: .venv/installed
	@ruff check
	@ruff format --check
	@mypy
	@pytest -m "slow or not slow"

lint: .venv/installed
	@ruff check --fix
	@ruff format
	@mypy

# Rewrites requirements.lock from pyproject.toml; review the difference like code.
lock:
	@$(PYTHON) .github/lock.py > requirements.lock.partial
	@mv requirements.lock.partial requirements.lock

clean:
	@rm -rf .venv .trunkline

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 13) else "error: Trunkline needs Python 3.11 or 3.12, and $(PYTHON) is " + sys.version.split()[0] + "; run `make PYTHON=python3.11`")'
	@echo "installing into .venv (a few minutes, once)"
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --requirement requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
