# Every command of the project. `make` alone prints them.
#
# Belongs here: names, arguments and one line of help a target. Does not belong here: logic; that is in `restartix`.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.complete
RESTARTIX := $(BIN)/restartix

# Arguments a person may give, e.g. `make psql ROLE=analyst ORG=1`.
PYTHON ?=
ARGS ?=
DATA ?=
FILE ?=
ROLE ?=
ORG ?=
PROCESS ?=

##@ Start here
demo: $(READY) ## Set up, start, play a week of three patients, show the dashboards, check every number
	@$(RESTARTIX) demo $(ARGS)

test: $(READY) ## Lint, then every test against real servers | make test ARGS="-k landing"
	@$(MAKE) lint
	echo "Tests"
	$(BIN)/pytest $(PYTEST_PARALLEL) $(ARGS)

setup: $(READY) ## Make .venv and install what requirements.lock pins; every other target does it by itself
	@echo "Ready: $(VENV), $$($(BIN)/python --version)"

##@ The local stack
up: $(READY) ## Start PostgreSQL, S3, Core API, ingest, finaliser, subscriber and Dagster
	@$(RESTARTIX) up

down: $(READY) ## Stop them all; data stays
	@$(RESTARTIX) down

status: $(READY) ## Show what runs, and where
	@$(RESTARTIX) status

logs: $(READY) ## Show the end of each log, or follow one | make logs PROCESS=ingest
	@$(RESTARTIX) logs $(if $(PROCESS),--follow $(PROCESS)) $(ARGS)

psql: $(READY) ## Open psql as a role, on one organisation's rows | make psql ROLE=analyst ORG=1
	@$(RESTARTIX) psql $(if $(ROLE),--role $(ROLE)) $(if $(ORG),--org $(ORG)) $(if $(ARGS),-- $(ARGS))

##@ Patients and recordings
play: $(READY) ## Play a recording through the running stack, show its repetitions   make play FILE=path/to/recording.npz
	@test -n "$(FILE)" || { echo "Say which recording: make play FILE=path/to/recording.npz"; exit 2; }
	$(RESTARTIX) play $(FILE) $(ARGS)

simulate: $(READY) ## Play a patient to the running stack | make simulate ARGS="--help"
	@$(RESTARTIX) simulate $(ARGS)

eval: $(READY) ## Count and score recordings, write a report | make eval DATA=../shared/pose-data
	@test -n "$(DATA)" || { echo "Say where the recordings are: make eval DATA=path/to/recordings"; exit 2; }
	$(RESTARTIX) eval --data "$(DATA)" $(ARGS)

fit-references: $(READY) ## Learn from recordings what correct looks like | make fit-references DATA=...
	@test -n "$(DATA)" || { echo "Say where the recordings are: make fit-references DATA=path/to/recordings"; exit 2; }
	$(RESTARTIX) fit-references --data "$(DATA)" $(ARGS)

choose-counting: $(READY) ## Choose counting figures without each subject | make choose-counting DATA=...
	@test -n "$(DATA)" || { echo "Say where the recordings are: make choose-counting DATA=path/to/recordings"; exit 2; }
	$(RESTARTIX) choose-counting --data "$(DATA)" $(ARGS)

plots: $(READY) ## Draw recordings, to be judged by eye | make plots DATA=...
	@test -n "$(DATA)" || { echo "Say where the recordings are: make plots DATA=path/to/recordings"; exit 2; }
	$(RESTARTIX) plots --data "$(DATA)" $(ARGS)

prove: $(READY) ## Kill workers 200 times under load, cut the power 2000 times; find every acknowledged batch
	@RESTARTIX_PROVE_KILLS=$${RESTARTIX_PROVE_KILLS:-200} RESTARTIX_PROVE_POWER_CUTS=$${RESTARTIX_PROVE_POWER_CUTS:-2000} \
		RESTARTIX_PROVE_RESTARTS=$${RESTARTIX_PROVE_RESTARTS:-20} RESTARTIX_PROVE_SOAK_S=$${RESTARTIX_PROVE_SOAK_S:-900} \
		$(BIN)/pytest -s --timeout 5400 tests/prove $(ARGS)

bench: $(READY) ## Measure against the targets, write a report
	@$(BIN)/python -m infra.bench $(ARGS)

##@ Looking after the code
lint: $(READY) ## ruff, mypy, sqlfluff and the import contracts
	@echo "Lint"
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet . || { echo "Not formatted: run $(BIN)/ruff format ."; exit 1; }
	$(BIN)/mypy
	marts="$$($(BIN)/sqlfluff lint --disable-progress-bar --config dbt_project/.sqlfluff dbt_project/models \
		dbt_project/tests/singular)" || { echo "$$marts"; exit 1; }
	contracts="$$($(BIN)/lint-imports --no-logo)" || { echo "$$contracts"; exit 1; }
	tail -n 1 <<< "$$contracts"

audit: $(READY) ## Look every pinned dependency up among known vulnerabilities; fails where that is not possible
	@$(BIN)/python -m infra.dependency_audit $(ARGS)

lock: $(READY) ## Pin anew what pyproject.toml asks for, with hashes
	@$(BIN)/uv lock
	$(BIN)/uv export --frozen --all-groups --no-emit-project --quiet -o requirements.lock

clean: ## Stop the stack and remove its data, reports and caches; .venv stays
	@if [ -x $(RESTARTIX) ]; then $(RESTARTIX) down; fi
	rm -rf "$${RESTARTIX_STATE:-.local}" build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

help: ## Print this
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { split($$2, text, " [|] "); printf "  make %-16s%-50s%s\n", $$1, text[1], text[2] }' \
		$(MAKEFILE_LIST)
	echo

.PHONY: demo test setup up down status logs psql play simulate eval fit-references choose-counting plots prove bench lint audit lock clean help

# Two workers pay from a few dozen tests on; one test file is quicker without.
PYTEST_PARALLEL ?= $(if $(ARGS),,-n 2)

# Installing: a virtual environment, uv at its pinned version (pip checks the hash), then exactly the lock. Instant once done.
$(READY): requirements.lock pyproject.toml
	@python="$(PYTHON)"
	if [ -z "$$python" ]; then
		for candidate in python3.13 python3.12 python3.11 python3; do
			if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
				python="$$candidate"; break
			fi
		done
	fi
	[ -n "$$python" ] || { echo "Python 3.11, 3.12 or 3.13 is needed (or name one: make setup PYTHON=/path/to/python)"; exit 1; }
	echo "Setting up $(VENV) with $$("$$python" --version) (a minute or two, once)"
	if [ ! -x $(BIN)/python ] || ! $(BIN)/python -c '' 2>/dev/null; then
		"$$python" -m venv --clear $(VENV) || {
			echo "$$python cannot make virtual environments; on Debian: apt install python3-venv"; exit 1; }
	fi
	[ -w "$${HOME:-/nonexistent}" ] || export UV_CACHE_DIR="$$PWD/$(VENV)/.cache" PIP_NO_CACHE_DIR=1
	if ! cmp -s <(awk '/^uv==/ { print $$1 }' requirements.lock) <($(BIN)/uv --version 2>/dev/null | awk '{ print "uv==" $$2 }'); then
		awk '/^[^ #]/ { pinned = /^uv==/ } pinned && !/^ *#/' requirements.lock > $(VENV)/uv.lock
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(VENV)/uv.lock
	fi
	VIRTUAL_ENV="$$PWD/$(VENV)" $(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	VIRTUAL_ENV="$$PWD/$(VENV)" $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
