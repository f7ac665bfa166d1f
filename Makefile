# Everything starts here: 'make help' lists what there is. Nothing but 'make setup' needs root.

ARCH    ?= x86_64
CONFIG  ?= examples/minimal/system.toml
PYTHON  ?= python3
JOBS    ?=
STORE   ?=
REPORTS ?= reports/$(ARCH)
TARGETS ?=
ROUNDS  ?= 1
MINUTES ?= 5
READERS ?=
PYTEST_ARGS ?=
FEATURES ?= python lock tests $(QEMU)

override ARCH := $(patsubst x86,x86_64,$(ARCH))
OUTPUT_x86_64  := x86
OUTPUT_aarch64 := aarch64
OUTPUT_riscv64 := riscv64
ifeq ($(OUTPUT_$(ARCH)),)
$(error unknown ARCH '$(ARCH)': use x86_64 (or x86), aarch64 or riscv64)
endif
IMAGES := buildroot_backup_imgs/$(OUTPUT_$(ARCH))/output/images

VENV  := .venv
BIN   := $(VENV)/bin
# $(call needs,FEATURE...): what these features need of Debian is installed if it is missing, and nothing else.
needs = @tools/missing-packages $(1) >/dev/null || $(MAKE) --no-print-directory setup FEATURES="$(1)"
# Debian's Python lacks the venv module until its package is there; one that was named by PYTHON= is the user's affair.
PYTHON_FROM_DEBIAN = $(if $(filter python3,$(PYTHON)),$(call needs,python))
QEMU  := qemu-x86_64 qemu-aarch64 qemu-riscv64
BUILD_FLAGS := $(if $(JOBS),--jobs $(JOBS)) $(if $(STORE),--store $(STORE))

.DEFAULT_GOAL := iso
.PHONY: iso run-qemu test lint types fmt boot repro cross crash fuzz peers bench setup venv pins timezones clean distclean help

iso: $(VENV)/.runtime ## Build kernel, root file system, ISO and run-qemu.sh for ARCH (default x86_64)
	$(BIN)/nexis-eval build $(CONFIG) --arch $(ARCH) $(BUILD_FLAGS) --output $(IMAGES)

run-qemu: iso ## Boot what 'make iso' built, on this terminal (Ctrl-A X leaves QEMU)
	$(call needs,qemu-$(ARCH))
	$(IMAGES)/run-qemu.sh

test: $(VENV)/.dev ## Fast tests (minutes): everything that neither boots nor cross-builds
	$(call needs,tests)
	$(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.dev ## Style and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev ## Type check (mypy --strict)
	$(BIN)/mypy

fmt: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

boot: $(VENV)/.dev ## Build the ISOs and boot them in QEMU (slow)
	$(call needs,tests $(QEMU))
	$(BIN)/pytest -m boot -ra $(PYTEST_ARGS)

repro: $(VENV)/.runtime ## Prove CONFIG reproducible for ARCH: build it and all it is made from again, everything varied
	examples/ci/prove check $(CONFIG) $(REPORTS) $(TARGETS) --all --rounds $(ROUNDS) --arch $(ARCH) $(BUILD_FLAGS)

cross: $(VENV)/.dev ## Build the example packages for foreign architectures (slow)
	$(call needs,tests)
	$(BIN)/pytest -m 'cross or slow' -ra $(PYTEST_ARGS)

crash: $(VENV)/.dev ## Kill the store at every system call that writes (slow)
	$(call needs,tests)
	$(BIN)/pytest -m crash -ra $(PYTEST_ARGS)

fuzz: $(VENV)/.dev ## Look for bytes that a reader answers with a fault; MINUTES=5; new ones each time
	$(call needs,tests)
	$(BIN)/python -m tests.fuzz.explore --minutes $(MINUTES) $(READERS)

peers: $(VENV)/.dev ## Compare with other tools, where they are installed
	$(call needs,tests)
	$(BIN)/pytest -m peers -ra $(PYTEST_ARGS)

bench: $(VENV)/.dev ## Measure; prints figures, never fails
	@for each in bench/*.py; do echo "== $$each"; $(BIN)/python $$each || true; done

setup: ## Install from Debian what running and testing need (uses sudo when you are not root)
	tools/setup-debian $(FEATURES)

venv: $(VENV)/.runtime ## Make the virtual environment that nexis-eval runs in (the other targets do it themselves)

pins: ## Refresh the pinned Python packages (requirements/*.txt)
	$(BIN)/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --strip-extras --allow-unsafe --extra build -o requirements/runtime.txt pyproject.toml
	$(BIN)/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --strip-extras --allow-unsafe --extra build --extra dev -o requirements/dev.txt pyproject.toml

TZDATA ?= /usr/share/zoneinfo/tzdata.zi
timezones: ## Refresh the names of time zones from this machine's tzdata
	{ head -n 1 $(TZDATA); \
	  awk '$$1 == "Z" && $$2 != "Factory" { print $$2 } $$1 == "L" { print $$3 }' $(TZDATA) | LC_ALL=C sort; } >nexis_eval/config/timezones.txt

clean: ## Remove the images and the caches of the tools (the store stays: 'nexis-store gc')
	rm -rf buildroot_backup_imgs reports .fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## Remove the virtual environment as well
	rm -rf $(VENV) nexisos.egg-info

help: ## This list
	@echo "make [TARGET] [ARCH=x86_64|aarch64|riscv64] [CONFIG=system.toml] [JOBS=N] [STORE=DIR]"
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 14
	@echo "repro also takes TARGETS=\"NAME…\", ROUNDS=N and REPORTS=DIR; test, boot, cross, crash and peers take"
	@echo "PYTEST_ARGS=\"…\", fuzz takes MINUTES=N and READERS=\"…\", setup takes FEATURES=\"…\" (tools/missing-packages lists them), all of them PYTHON=/path/to/python3."

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml
	$(PYTHON_FROM_DEBIAN)
	@tools/make-venv $(PYTHON) $(VENV) requirements/runtime.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml
	$(PYTHON_FROM_DEBIAN)
	@tools/make-venv $(PYTHON) $(VENV) requirements/dev.txt
	@touch $@ $(VENV)/.runtime
