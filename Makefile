# The two commands of the README, and what keeps the project in order.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# What a user's shell has set for another project must not reach this one.
unexport $(filter PYTHON%,$(.VARIABLES)) VIRTUAL_ENV PIP_TARGET PIP_PREFIX
# In the locale C that this can force, Python does not find an environment whose path is not ASCII.
unexport LC_ALL
# One more than cores: the stories often wait.
PROCESSES = $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.PHONY: run test lint lock clean

run: .venv/installed
	@dvc repro
	@trunkline report

test: .venv/installed
	@ruff check
	@ruff format --check
	@mypy
	@pytest -m "slow or not slow" --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

lint: .venv/installed
	@ruff check --fix
	@ruff format
	@mypy

# Rewrites requirements.lock from pyproject.toml; review the difference like code.
lock:
	@$(PYTHON) .ci/lock.py > requirements.lock.partial
	@mv requirements.lock.partial requirements.lock

clean:
	@rm -rf .venv .venv.lock .trunkline

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) .ci/install.py
