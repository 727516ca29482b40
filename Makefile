# The commands for developers. `make help` lists them.

# rustup's cargo comes first, as rustup itself sets it up. mosquitto is in /usr/sbin.
export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/sbin:/sbin
CARGO_TARGET_DIR ?= target
export CARGO_TARGET_DIR := $(abspath $(CARGO_TARGET_DIR))
# The programs for the tests of size and memory budgets.
export TEDGE_RELEASE_DIR := $(CARGO_TARGET_DIR)/release

.PHONY: help setup build test test-clients test-faults fuzz demo packages apt-repository test-packages bench fmt lint
.NOTPARALLEL:

help: ## List these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
	  || sed -nE 's/^([a-z-]+):.*## (.*)/make \1: \2/p' Makefile

setup: ## Install the programs that building and testing need (Debian 12 or 13, root or sudo)
	@packaging/setup

build: setup ## Build the two programs as in a release
	cargo build --release --locked

test: setup lint build ## Install missing programs, then run all tests
	@packaging/setup chromium || echo "test: no chromium here, so the tests with a browser are skipped"
	cargo test --workspace --locked --no-fail-fast

test-clients: setup ## Run real clients of the Cumulocity API, from PyPI and npm, through the proxy
	tests/clients/install $(CARGO_TARGET_DIR)/clients
	TEDGE_CLIENTS=$(CARGO_TARGET_DIR)/clients \
	  cargo test --locked --package c8y_proxy --test c8y_proxy clients

# One test at a time, since time and memory are measured.
test-faults: setup build ## Test for two hours with power cuts, full disks and attacks
	@packaging/setup slowhttptest e2fsprogs faketime openssl sslscan
	cargo test --workspace --locked -- --ignored --skip promises:: --nocapture --test-threads=1

# Seconds for each fuzz target.
TIME ?= 60
# RUSTC_BOOTSTRAP: the fuzzer needs unstable compiler options. No sanitizer: the code is safe Rust,
# and a finding is a failed assertion. New findings are stored below the target directory.
FUZZ := RUSTC_BOOTSTRAP=1 cargo fuzz
fuzz: ## Fuzz every parser of untrusted input, TIME=60 seconds each (needs cargo-fuzz)
	cp Cargo.lock tests/fuzz/Cargo.lock
	$(FUZZ) build --fuzz-dir tests/fuzz --sanitizer none
	@set -e; for target in $$(cargo fuzz list --fuzz-dir tests/fuzz); do \
	  found=$(CARGO_TARGET_DIR)/fuzz-corpus/$$target; mkdir -p $$found; \
	  $(FUZZ) run --fuzz-dir tests/fuzz --sanitizer none $$target $$found \
	    tests/fuzz/corpus/$$target -- -max_total_time=$(TIME) -timeout=10 -print_final_stats=1; \
	done

# The simulated cloud is built as `cargo test` builds it, so that nothing is built twice.
demo: setup build ## Walk through the HTTPS documentation with the real programs
	cargo build --workspace --examples --locked
	tests/demo/run

# arm64 and armhf need Debian 12. ARCHITECTURES=amd64 builds only that one.
ARCHITECTURES ?= amd64 arm64 armhf
packages: setup ## Make the Debian packages, for amd64, arm64 and armhf
	@packaging/setup dpkg-dev binutils xz-utils lintian $(CROSS)
	@set -e; for architecture in $(ARCHITECTURES); do packaging/package $$architecture; done
	@lintian --fail-on error,warning --allow-root $(CARGO_TARGET_DIR)/packages/*.deb
	@ls -l $(CARGO_TARGET_DIR)/packages

packages: CROSS = $(if $(filter arm64,$(ARCHITECTURES)),g++-aarch64-linux-gnu) \
  $(if $(filter armhf,$(ARCHITECTURES)),g++-arm-linux-gnueabihf)

apt-repository: ## Make an apt repository of the packages, signed with KEY=…
	@packaging/setup apt-utils gpg
	@packaging/apt-repository "$(KEY)"

# tests/packages/fresh makes the packages that the others test.
test-packages: setup ## Test the packages in booted Debian 12 and 13 machines (root)
	@packaging/setup dpkg-dev binutils xz-utils apt-utils gpg mmdebstrap systemd-container \
	  qemu-user-static libgcc-s1-arm64-cross libgcc-s1-armhf-cross
	cargo build --workspace --examples --locked
	tests/packages/fresh
	tests/packages/reproducible amd64
	tests/packages/arm arm64
	tests/packages/arm armhf
	tests/packages/armv6
	tests/packages/run bookworm
	tests/packages/run trixie

# BENCH=--quick takes less than 3 minutes, not 15. BENCH="--only put" runs the benchmarks with "put"
# in their title. BENCH=--keep writes the results that the README shows.
bench: build ## Measure against nginx and lighttpd: target/bench.md and target/bench.svg
	@packaging/setup nginx lighttpd lighttpd-mod-webdav lighttpd-mod-openssl wrk
	tests/bench/run $(BENCH)

fmt: ## Format the code
	cargo fmt

# Debian's Rust comes without these tools. A missing tool is reported, and is not a failure.
lint: ## Check format, lints and shell scripts with the tools that are installed
	@if cargo fmt --version >/dev/null 2>&1; then set -x; cargo fmt --check; \
	else echo "lint: rustfmt is not installed, format not checked"; fi
	@if cargo clippy --version >/dev/null 2>&1; then set -x; \
	  cargo clippy --workspace --all-targets --locked -- -D warnings; \
	else echo "lint: clippy is not installed, lints not checked"; fi
	@if cargo deny --version >/dev/null 2>&1; then set -x; \
	  cargo deny --locked check licenses sources bans; \
	else echo "lint: cargo-deny is not installed, licences and sources not checked"; fi
	@if command -v shellcheck >/dev/null; then set -x; \
	  shellcheck --external-sources --check-sourced --severity=warning \
	    $$(grep -lrE '^#!(/bin/(ba)?sh|/usr/bin/env bash)' .ci packaging tests); \
	else echo "lint: shellcheck is not installed, scripts not checked"; fi
