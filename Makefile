# What each target does: make help
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: help build demo test test-objects test-postgres soak lint fmt bench dist install clean-demo

CARGO ?= cargo
PREFIX ?= /usr/local
# Passed on to the test runner, for one test or a group: make test ARGS=flask
ARGS ?=
# Where cargo puts the programs
BIN ?= $(or $(CARGO_TARGET_DIR),target)/release
export BIN DEMO_DIR DEMO_PORT RUNS

help: ## List the targets
	@awk -F ":.*## " "/^[a-z-]+:.*## / { printf \"  make %-13s %s\\n\", \$$1, \$$2 }" $(MAKEFILE_LIST)

build: ## Build rbuild and rregistry (target/release)
	@scripts/install-deps.sh build
	$(CARGO) build --release --bins

demo: ## Build an image, push it to a registry on port 5000, look at it (needs root)
	@scripts/install-deps.sh demo
	$(CARGO) build --release --bins
	@scripts/demo.sh

# One process a crate: the end-to-end tests share a dockerd, which is slow to start.
test: ## Install what the tests need and run them all (as root for the whole of it)
	@scripts/install-deps.sh test
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace --no-fail-fast $(ARGS)

# What does not look into files of the data directory.
OBJECTS = conformance:: uploads:: blobs:: manifests:: collect:: orphans:: check:: restart:: quota:: \
	backup::
test-objects: ## Run the registry's tests on an object store (S3, in the tests' own process)
	RREGISTRY_TEST_STORAGE=s3 $(CARGO) test --workspace --test api -- $(OBJECTS)

# What asks the database most, and does not look into its file.
DATABASE = conformance:: blobs:: manifests:: listing:: collect:: quota:: retention dry_run:: \
	lists:: restart:: process::killed --skip mirror_
test-postgres: ## Run the registry's tests on PostgreSQL (started by the tests themselves)
	RREGISTRY_TEST_DATABASE=postgres $(CARGO) test --workspace --test api -- $(DATABASE)

lint: ## Check formatting, clippy without warnings, shell scripts
	@scripts/install-deps.sh lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	scripts/shellcheck.sh

fmt: ## Format the Rust code
	$(CARGO) fmt --all

soak: ## Push, pull, delete and collect at once for five minutes, verifying everything
	RREGISTRY_SOAK_SECONDS=$${RREGISTRY_SOAK_SECONDS:-300} RREGISTRY_TEST_LARGE_GIB=5 \
	RREGISTRY_TEST_BLOB_MIB=100 \
		$(CARGO) test -p registry --test api -- --nocapture soak memory

bench: ## Compare with docker, buildah and docker-registry on this machine (needs root)
	@scripts/install-deps.sh test
	$(CARGO) build --release --bins
	$(CARGO) build --release -p registry --example load
	benches/peers.sh all

dist: ## Make static programs, manual pages, Debian packages (target/dist)
	@scripts/install-deps.sh dist
	@scripts/dist.sh target/dist

install: ## Install the two programs under PREFIX (/usr/local)
	$(CARGO) build --release --bins
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin $(BIN)/rbuild $(BIN)/rregistry

clean-demo: ## Remove what the demo made
	rm -rf -- "$${DEMO_DIR:-.demo}"
