# Culvert. `make run` and `make test` install what they need (apt, Go modules) and are safe to repeat.
SHELL := /bin/bash
GO ?= go
BIN := bin/culvert
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
export CGO_ENABLED = 0

.PHONY: build run test test-openstack test-dataplane soak conformance bench fuzz lint deps deps-test clean

build: ## one static binary
	$(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN) .

LISTEN ?= 127.0.0.1:9696
run: deps build ## the all-in-one server with a demo tunnel, until Ctrl-C
	exec $(BIN) demo --data var/demo --listen $(LISTEN)

test: deps-test lint ## everything: both store engines, real charon, real tunnels, the binary itself, suites of others
	$(GO) build -trimpath -o $(BIN) .
	$(GO) test -timeout 20m ./...

test-openstack: deps-test ## beside a real Keystone and Neutron from Debian's packages, which it installs, starts on loopback and ends
	test/openstack/stack install
	$(GO) vet -tags openstack ./test/openstack
	$(GO) test -tags openstack -count=1 -v -timeout 40m ./test/openstack

test-dataplane: deps-test ## what tunnels do: confusion matrix, attributes, leak capture, edits, kill run, peers on a real kernel; prints the tables
	$(GO) test -count=1 -v -timeout 15m ./test/dataplane
	$(GO) test -count=1 -v -timeout 10m ./test/kernel
	$(GO) test -count=1 -v -timeout 15m -run Kernel ./internal/gateway ./test/e2e

soak: deps-test ## the long versions of the same, 200 kills among them: about 20 minutes, ends after 40 at the latest
	CULVERT_SOAK=1 $(GO) test -count=1 -v -timeout 40m ./test/dataplane
	CULVERT_SOAK=1 $(GO) test -count=1 -v -timeout 20m -run KernelESP ./test/e2e

conformance: deps-test ## upstream's own suites and clients, unmodified, against the binary; `make test` runs them too
	$(GO) test -count=1 -v -timeout 10m ./test/conformance

bench: deps-test build ## latency and throughput against raw limits; a table, and var/bench.json
	$(GO) run ./test/bench --binary $(BIN) --out var/bench.json

FUZZTIME ?= 60s
fuzz: ## every fuzz target for FUZZTIME
	@set -e; for f in $$(grep -rlE '^func Fuzz' --include='*_test.go' .); do \
	  for t in $$(grep -oE '^func Fuzz[A-Za-z0-9_]+' $$f | cut -c6-); do \
	    echo "== $$t in $$(dirname $$f)"; $(GO) test -run '^$$' -fuzz "^$$t$$" -fuzztime $(FUZZTIME) ./$$(dirname $$f); done; done

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run gofmt -w on these'; exit 1; }
	$(GO) vet ./...

deps:
	packaging/install-deps run

deps-test:
	packaging/install-deps test

clean:
	rm -rf bin var
