# What a person types. `make help` lists it.

# rustup's cargo first, as rustup itself would have it; mosquitto is where only root looks.
export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/sbin:/sbin
export CARGO_TARGET_DIR ?= $(CURDIR)/target
# Where the tests that hold sizes and memory to their budgets find the programs.
export TEDGE_RELEASE_DIR := $(CARGO_TARGET_DIR)/release

.PHONY: help setup build test test-clients demo bench fmt lint
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
	tests/clients/install $(abspath $(CARGO_TARGET_DIR))/clients
	TEDGE_CLIENTS=$(abspath $(CARGO_TARGET_DIR))/clients \
	  cargo test --locked --package c8y_proxy --test c8y_proxy clients

# The stand-in for the cloud as `cargo test` has built it, so that nothing is built twice.
demo: setup build ## Walk through the HTTPS documentation with the real programs
	cargo build --workspace --examples --locked
	tests/demo/run

# BENCH=--quick takes less than 3 minutes in place of 10.
bench: build ## Measure against nginx: a table, target/bench.md and target/bench.svg
	@packaging/setup nginx wrk
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
	  shellcheck --external-sources --check-sourced \
	    $$(grep -lrE '^#!(/bin/(ba)?sh|/usr/bin/env bash)' .ci packaging tests); \
	else echo "lint: no shellcheck here, scripts not checked"; fi
