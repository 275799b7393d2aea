# The commands of this project. `.ci/run` runs the very same.

CARGO ?= cargo
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# `make dist packages` does one after the other, also with -j.
.NOTPARALLEL:
.PHONY: help run build bpf test reloads lint fmt deny fuzz bench metrics changelog rules e2e kernels demo demo-check dist packages packages-check image kubernetes fleet

help: ## lists the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: compiler ## builds the agent and starts it; flags go into ARGS="--listen off"
	$(CARGO) run --release --locked -- $(ARGS)

build: compiler ## builds target/release/connscope
	$(CARGO) build --release --locked

test: compiler ## installs what the tests need, where it may, and runs all of them; ARGS="-- columns" runs some
	.ci/tools conntrack=conntrack nft=nftables ip=iproute2 unshare=util-linux systemd-analyze=systemd dockerd=docker.io ctr=containerd busybox=busybox-static \
		clang-14=clang-14 llvm-strip-14=llvm-14 /usr/lib/systemd/systemd-journal-remote=systemd-journal-remote perl=perl-base logrotate=logrotate chromium=chromium tmux=tmux
	.ci/test $(ARGS)

lint: compiler ## formatting, clippy and the documentation's links, every warning an error
	$(CARGO) fmt --version || rustup component add rustfmt
	$(CARGO) clippy --version || rustup component add clippy
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test e2e -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

reloads: compiler ## reloads a running agent a thousand times, with traffic, and prints what that left behind
	CONNSCOPE_RELOADS=1000 .ci/test --test main -- --nocapture reloading_again_and_again

fmt: ## formats the code
	$(CARGO) fmt

deny: ## licences, versions, sources and advisories of the dependencies
	.ci/deny

fuzz: compiler ## feeds the parsers made-up messages, a minute each; ARGS="sock_diag" does one, ARGS="sock_diag FILE" one input
	.ci/tools c++=build-essential
	.ci/fuzz $(ARGS)

bench: compiler ## measures the sources, the parsers, the exposition and the running agent; as root for the sockets
	$(CARGO) bench --locked --bench cycle -- $(ARGS)
	$(CARGO) bench --locked --bench drops
	$(CARGO) bench --locked --bench server
	$(CARGO) bench --locked --bench footprint
	$(CARGO) bench --locked --bench history
	$(CARGO) bench --locked --bench conntrack
	$(CARGO) bench --locked --bench sockets
	$(CARGO) bench --locked --bench containers
	$(CARGO) bench --locked --bench probes
	CONNSCOPE_LOGPARSER="$$(.ci/logparser)" $(CARGO) bench --locked --bench logs

rules: compiler ## checks metric names, alerts and recording rules with promtool: its own build, Debian's prometheus, or both
	.ci/rules

e2e: compiler ## the whole pipeline: agent, real Collector, real Prometheus; needs Go; ARGS="outage" runs some
	.ci/e2e $(ARGS)

kernels: compiler ## boots Debian's kernels in qemu and holds the agent against their tools; ARGS="6.1" does one
	.ci/kernels $(ARGS)

demo: ## starts agent, Collector, Prometheus, Grafana and moving traffic with docker compose
	docker compose up --build --detach --wait

demo-check: compiler ## runs the demo from images built here and asks for every panel's data; needs root and Go
	.ci/demo-check

image: compiler ## builds the agent's images and tries what they may do, in an engine of its own; needs root
	.ci/demo-check --image

dist: compiler ## the static binary, built twice and compared, with its SBOM and checksums, in dist/
	.ci/dist

kubernetes: ## renders the manifests and the chart, and checks them against three versions of Kubernetes; needs Go, once
	.ci/kubernetes

fleet: compiler ## 200 agents and one Collector, which is killed and comes back; prints tables; needs root and Go; ARGS="quick" takes three
	.ci/fleet $(ARGS)

bpf: ## rebuilds the BPF object; needs clang 14
	.ci/tools clang-14=clang-14 llvm-strip-14=llvm-14
	.ci/bpf

metrics: compiler ## regenerates METRICS.md
	trap 'rm -f METRICS.md.new' EXIT; $(CARGO) run --locked --quiet -- metrics > METRICS.md.new && mv METRICS.md.new METRICS.md

changelog: ## moves the fragments of changelog.d/ into CHANGELOG.md
	.ci/changelog

packages: ## the deb and the rpm in dist/, of the binary of `make dist`
	.ci/packages

packages-check: ## tries the packages that `make packages` makes: lintian, and the deb from its installation to its purge; needs root and Debian
	.ci/packages-check

.PHONY: compiler
compiler:
	@.ci/tools cc=build-essential
