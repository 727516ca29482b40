# What a person types. `make help` lists it.

# rustup's cargo first, as rustup itself would have it; mosquitto is where only root looks.
export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/sbin:/sbin
CARGO_TARGET_DIR ?= target
export CARGO_TARGET_DIR := $(abspath $(CARGO_TARGET_DIR))
# Where the tests that hold sizes and memory to their budgets find the programs.
export TEDGE_RELEASE_DIR := $(CARGO_TARGET_DIR)/release

.PHONY: help setup build test test-clients test-faults fuzz demo packages apt-repository test-packages bench fmt lint
.NOTPARALLEL:

help: ## List these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
	  || sed -nE 's/^([a-z-]+):.*## (.*)/make \1: \2/p' Makefile

setup: ## Install what building and testing need (Debian 12 or 13, root or sudo)
	@packaging/setup

build: setup ## Build the two programs, as they are shipped
	cargo build --release --locked

test: setup lint build ## Install what is missing, then run every test
	cargo test --workspace --locked

test-clients: setup ## Run real clients of the Cumulocity API, from PyPI and npm, through the proxy
	tests/clients/install $(CARGO_TARGET_DIR)/clients
	TEDGE_CLIENTS=$(CARGO_TARGET_DIR)/clients \
	  cargo test --locked --package c8y_proxy --test c8y_proxy clients

# One after the other, since time and memory are measured.
test-faults: setup build ## Cut the power, fill the disk, and attack for an hour what is tested
	@packaging/setup slowhttptest e2fsprogs faketime openssl sslscan
	cargo test --workspace --locked -- --ignored --skip promises:: --nocapture --test-threads=1

# Seconds for each of the targets.
TIME ?= 60
# Rust's fuzzer is unstable, and asks for no more than that to be overlooked. No sanitizer: the code
# is safe, and what is looked for are broken promises. What is found anew stays out of the sources.
FUZZ := RUSTC_BOOTSTRAP=1 cargo fuzz
fuzz: ## Fuzz whatever reads what others write, TIME=60 seconds each (needs cargo-fuzz)
	cp Cargo.lock tests/fuzz/Cargo.lock
	$(FUZZ) build --fuzz-dir tests/fuzz --sanitizer none
	@set -e; for target in $$(cargo fuzz list --fuzz-dir tests/fuzz); do \
	  found=$(CARGO_TARGET_DIR)/fuzz-corpus/$$target; mkdir -p $$found; \
	  $(FUZZ) run --fuzz-dir tests/fuzz --sanitizer none $$target $$found \
	    tests/fuzz/corpus/$$target -- -max_total_time=$(TIME) -timeout=10 -print_final_stats=1; \
	done

# The stand-in for the cloud as `cargo test` has built it, so that nothing is built twice.
demo: setup build ## Walk through the HTTPS documentation with the real programs
	cargo build --workspace --examples --locked
	tests/demo/run

# The foreign architectures ask for Debian 12: ARCHITECTURES=amd64 builds that one alone.
ARCHITECTURES ?= amd64 arm64 armhf
packages: setup ## Make the Debian packages, for amd64, arm64 and armhf
	@packaging/setup dpkg-dev binutils xz-utils lintian $(CROSS)
	@set -e; for architecture in $(ARCHITECTURES); do packaging/package $$architecture; done
	@lintian --fail-on error,warning --allow-root $(CARGO_TARGET_DIR)/packages/*.deb
	@ls -l $(CARGO_TARGET_DIR)/packages

packages: CROSS = $(if $(filter arm64,$(ARCHITECTURES)),g++-aarch64-linux-gnu) \
  $(if $(filter armhf,$(ARCHITECTURES)),g++-arm-linux-gnueabihf)

apt-repository: ## Lay the packages out as an apt repository signed by KEY=…
	@packaging/setup apt-utils gpg
	@packaging/apt-repository "$(KEY)"

test-packages: packages ## Try the packages in booted Debian 12 and 13 machines (root)
	@packaging/setup apt-utils gpg mmdebstrap systemd-container qemu-user-static
	cargo build --workspace --examples --locked
	tests/packages/fresh
	tests/packages/reproducible amd64
	tests/packages/arm arm64
	tests/packages/arm armhf
	tests/packages/run bookworm
	tests/packages/run trixie

# BENCH=--quick takes less than 3 minutes in place of 15, BENCH="--only put" what has put in its
# title, and BENCH=--keep writes what the README shows.
bench: build ## Measure against nginx and lighttpd: target/bench.md and target/bench.svg
	@packaging/setup nginx lighttpd lighttpd-mod-webdav lighttpd-mod-openssl wrk
	tests/bench/run $(BENCH)

fmt: ## Format the code
	cargo fmt

# Debian's Rust comes without these tools unless asked for; what is not there is said.
lint: ## Check format, lints and shell scripts, with the tools that are there
	@if cargo fmt --version >/dev/null 2>&1; then set -x; cargo fmt --check; \
	else echo "lint: no rustfmt here, format not checked"; fi
	@if cargo clippy --version >/dev/null 2>&1; then set -x; \
	  cargo clippy --workspace --all-targets --locked -- -D warnings; \
	else echo "lint: no clippy here, lints not checked"; fi
	@if cargo deny --version >/dev/null 2>&1; then set -x; \
	  cargo deny --locked check licenses sources bans; \
	else echo "lint: no cargo-deny here, licences and sources not checked"; fi
	@if command -v shellcheck >/dev/null; then set -x; \
	  shellcheck --external-sources --check-sourced --severity=warning \
	    $$(grep -lrE '^#!(/bin/(ba)?sh|/usr/bin/env bash)' .ci packaging tests); \
	else echo "lint: no shellcheck here, scripts not checked"; fi
