# Everyday work needs Go alone; `make test` installs what else it needs, on
# Debian 12 or 13. `make` without a target lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
ARCHS ?= amd64 arm64
PROGRAMS := $(notdir $(wildcard cmd/*))
FUZZTIME ?= 25000x

# The compiler of the committed BPF objects: another version gives other bytes. For work
# any from 14 on will do: `make generate BPF2GO_CC=clang`. llvm-strip of the same version
# is needed as well.
export BPF2GO_CC := clang-19

# What else is in the environment would change the programs, or what processors they need. All targets build
# as for a release, so that each package is compiled once. The race detector and vale need cgo. The tag leaves
# out gRPC's tracing, which keeps html/template and 3.5 MB more in a program. Debug information, which a release
# lacks, would take a fourteenth of the time to build.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -tags=grpcnotrace -gcflags=all=-dwarf=false
export GOAMD64 := v1
export GOARM64 := v8.0
export GOEXPERIMENT :=
export GOFIPS140 := off

# Without the state of the checkout, so that each copy of the sources gives the same program.
BUILD := go build -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'
LINT := go tool -modfile=tools/go.mod golangci-lint

# Empty for root. sudo drops PATH, and some tests call the Go toolchain.
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo env "PATH=$(PATH)")

.PHONY: help
help: ## List the targets.
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 17

.PHONY: build
build: ## Build bin/cryptnono and bin/cryptnono-selftest for this machine.
	$(BUILD) -o bin/ ./cmd/...

.PHONY: run
run: build ## Build and start the agent with its built-in defaults, as root.
	$(SUDO) bin/cryptnono run

# For every save: gofmt, go vet and the tests that need no root, of all packages. It uses
# no network and takes some 17 s on two slow CPUs if no result is cached, and 4 s if all are.
# With -short, simulations and random tests do a twentieth of what they do in `make test`,
# and the largest cases are skipped. The linker has less to do for programs that are built as
# those that ship, nothing for packages whose tests all need root, which are only vetted, and
# nothing for programs of tests that -o keeps in .cache/tests and that are up to date. There can be
# only one for folders of the same name, so the packages of the others are tested without -o; go test
# also counts packages without tests, so these are left out.
# -p 4, since some tests wait; those that take longest begin first.
ALL_AS_ROOT := internal/detector/example internal/host internal/inventory internal/killlimit \
	test/acceptance test/attacks test/kubernetes
SLOWEST := ./cmd/cryptnono ./internal/procread ./internal/supervise ./internal/agent ./internal/report ./internal/runtimes ./internal/testutil
CHECK := go test -ldflags '-s -w' -short -vet=off -p 4

.PHONY: check
check: ## Everyday checks: gofmt, go vet, the tests that need no root.
	said=$$(mktemp); { \
		unformatted=$$(gofmt -l charts cmd docs internal packaging test tools); \
		[[ -z $$unformatted ]] || { echo "gofmt -w these:"; echo "$$unformatted"; exit 1; }; \
		go vet ./...; \
	} >"$$said" 2>&1 & vet=$$!; \
	trap 'failed=$$?; wait $$vet || failed=$$?; cat "$$said"; rm "$$said"; exit $$failed' EXIT; \
	tests=$$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | \
		grep -vE '/($(subst $(eval) ,|,$(strip $(ALL_AS_ROOT))))$$'); \
	$(CHECK) $$(awk -F / 'named[$$NF]++' <<<"$$tests"); \
	mkdir -p .cache/tests; \
	$(CHECK) -o .cache/tests/ $(SLOWEST) $$(awk -F / '!named[$$NF]++' <<<"$$tests")

# All tests that need root, or those of PKG, and of those the ones that match RUN:
#   make test-root PKG=internal/exempt RUN=Named
# One package at a time, since they share the kernel. Only the test binaries run as root,
# the compiler does not. test/attacks and packaging/tests need more than root; PKG may name
# them.
PRIVILEGED = $(shell grep -rlF --include='*_test.go' testutil.Privileged cmd internal test/acceptance | xargs dirname | sort -u)

# A program with the race detector sleeps for a second before it exits, if it has other threads, to see
# what these still do. The tests start such programs thousands of times, above all themselves, and wait for
# their end: a quarter of the time of tcpflowkiller. GORACE leaves that out; races until then are found.
ROOT_ENV := CRYPTNONO_REQUIRE_ROOT=1 GORACE=atexit_sleep_ms=0
AS_ROOT := -exec '$(SUDO) env $(ROOT_ENV)'

.PHONY: test-root
test-root: ## The tests that need root: [PKG=internal/exempt] [RUN=REGEX].
	go test -count=1 -p 1 -timeout 20m $(AS_ROOT) $(if $(RUN),-v -run '$(RUN)') \
		$(addprefix ./,$(patsubst ./%,%,$(or $(PKG),$(PRIVILEGED))))

# The same in an emulated kernel: one of test/kernels/plan.go, or a file.
KERNEL ?= 6.12

.PHONY: vm-test
vm-test: ## The same in a virtual machine, without root: [PKG=] [RUN=] [KERNEL=5.10|newest|FILE].
	go run ./test/kernels -kernel '$(KERNEL)' -pkg '$(PKG)' -run '$(RUN)'

# What fails soonest comes first.
.PHONY: test
test: deps check lint chart drift release site test-go fuzz test-attacks test-kernels test-kubernetes ## All checks and all tests, as root.

# Tests wait for what a busy machine does late, so one that fails is run once more. The output names it
# in each case. A data race is not repeated, nor are more than five failures.
TEST = $(if $(SUDO),,env $(ROOT_ENV)) go tool -modfile=tools/go.mod gotestsum --format standard-quiet --hide-summary skipped \
	--rerun-fails=1 --rerun-fails-max-failures=5 --rerun-fails-run-root-test --rerun-fails-abort-on-data-race

# Go repeats the result of a test that has passed, if the same program would read the same files in this
# module. Tests also start programs that they build or find on this machine. So their programs differ
# with the sources, but for the documentation, with the installed packages and with the kernel.
# Where git does not know the sources, each run is another. With -exec, which sudo needs, Go repeats none.
IF_CHANGED = $(if $(SUDO),$(AS_ROOT)) -ldflags=-X=main.state=$(STATE)
STATE = $(shell { git ls-files -co --exclude-standard -- ':!*.md' | xargs -d '\n' sha256sum || date +%s%N; \
	uname -rv; cat /var/lib/dpkg/status; } 2>/dev/null | sha256sum | cut -c 1-16)

# These packages, and files with the tag !race, only compute, have no goroutines, or start the
# program again and again: the race detector would find nothing and take ten times as long.
PURE := ./internal/match/... ./internal/detector/monero/rounding ./internal/detector/tcpflowkiller/firstbytes ./internal/detector/hashwork/scratchpad ./internal/detector/hashwork/words/... ./internal/rules ./internal/strict

# What shares the kernel. The others are linked and run on all processors, before these.
ONE_AT_A_TIME = $(PRIVILEGED) packaging/tests

.PHONY: test-go
test-go:
	$(TEST) --packages='$(PURE)' -- $(IF_CHANGED)
	files=$$(grep -rl --include='*_test.go' '^//go:build !race$$' internal cmd); \
	$(TEST) --packages="$$(dirname $$files | sort -u | sed 's|^|./|')" -- -p 1 $(IF_CHANGED) \
		-run "^($$(sed -nE 's/^func ((Test|Fuzz)\w+)\(.*/\1/p' $$files | paste -sd '|'))\$$"
	CGO_ENABLED=1 $(TEST) --packages="$$(go list ./... | grep -vxFf <(go list $(PURE) $(addprefix ./,$(ONE_AT_A_TIME))) | grep -vE '/test/(attacks|kubernetes)$$')" \
		-- -race -timeout 20m $(IF_CHANGED)
	CGO_ENABLED=1 $(TEST) --packages="$$(go list $(addprefix ./,$(ONE_AT_A_TIME)) | grep -vxFf <(go list $(PURE)))" \
		-- -race -p 1 -timeout 20m $(IF_CHANGED)

# It measures the memory of what it starts, which begins with its own: so without the
# race detector.
.PHONY: test-attacks
test-attacks:
	$(TEST) --packages=./test/attacks -- -timeout 20m $(IF_CHANGED)

.PHONY: test-kernels
test-kernels: ## Run the agent and its detectors' tests on many kernels, emulated: [ONLY='^6.1/arm64$$'].
	go run ./test/kernels $(if $(ONLY),-only '$(ONLY)')

# The image and the chart on a Kubernetes that is built from its module.
.PHONY: test-kubernetes
test-kubernetes: image ## Run the image and the chart on a Kubernetes of one node: [RUN=REGEX], with RUN=Alive and RUN=Respond more than without.
	programs=$$(test/kubernetes/hyperkube/build) && \
	$(if $(RUN),go test ./test/kubernetes -v -run '$(RUN)',$(TEST) --packages=./test/kubernetes --) -count=1 -timeout 30m \
		-exec "$(SUDO) env CRYPTNONO_REQUIRE_ROOT=1 $(if $(RUN),SOAK=1) KUBERNETES=$$programs VERSION=$(VERSION)"

.PHONY: chart
chart: ## Test the Helm chart, its alerts and its dashboard.
	cd charts/tests && go vet ./...
	cd charts/tests && go test -count=1 $(AS_ROOT) ./...

.PHONY: chart-docs
chart-docs: ## Write the settings into the chart and docs/configuration.md, and the chart's README.
	go generate ./internal/config
	cd charts/tests && go tool helm-docs --chart-search-root=../../charts --sort-values-order=file

# Hugo, from its module, and the programs of tools/site.
SITE_TOOLS := $(CURDIR)/.cache/site-tools

.PHONY: site-tools
site-tools:
	GOBIN=$(SITE_TOOLS) go -C tools/site install tool ./draw ./links

.PHONY: site
site: site-tools ## Build the documentation's site in bin/site, and check its links.
	go -C tools/site test ./...
	rm -rf bin/site
	HUGO_CACHEDIR=$(CURDIR)/.cache/hugo $(SITE_TOOLS)/hugo --source docs/site --destination $(CURDIR)/bin/site --noBuildLock --panicOnWarning >/dev/null
	$(SITE_TOOLS)/links bin/site https://cryptnono.github.io/cryptnono/ https://github.com/cryptnono/cryptnono

.PHONY: picture
picture: site-tools ## Draw docs/architecture.svg from docs/architecture.dot.
	$(SITE_TOOLS)/draw docs/architecture.dot docs/architecture.svg

.PHONY: demo
demo: ## Run the agent and two miners, and write the picture in README.md, as root.
	$(MAKE) build VERSION=dev
	go run -exec '$(SUDO) env' ./docs/demo

# After a change of the dashboard only the second line is needed.
.PHONY: dashboard-picture
dashboard-picture: ## Record the metrics of an agent for three minutes, as root, and draw docs/dashboard.svg.
	cd charts/tests && go test -count=1 $(AS_ROOT) -run TestRecording -record .
	cd charts/tests && go test -count=1 -run ThePictureIs -update .

.PHONY: bench
bench: ## Measure what execs and connections cost with the agent and without.
	go run -exec '$(SUDO) env' ./test/bench
	go test -run '^$$' -bench 'Connections|Loopback|FirstBytes' -benchtime 1x $(AS_ROOT) ./internal/detector/tcpflowkiller/...
	go test -run '^$$' -bench 'Sample|Throughput|Search|Fifty' -benchtime 5x $(AS_ROOT) ./internal/detector/hashwork
	go test -run '^$$' -bench ExecWithLearnedFiles -benchtime 2000x $(AS_ROOT) ./internal/detector/hashwork

.PHONY: compare
compare: ## Measure this agent and others in one run, as root: time to the kill, losses, costs.
	go run -exec '$(SUDO) env' ./test/bench -only compare

.PHONY: soak
soak: ## All attacks with their full numbers, all names of Debian, programs and clients at work, as root; takes some two hours.
	SOAK=1 go test -count=1 -v ./test/debian
	SOAK=1 go test -count=1 -v -run NoOtherProgram ./internal/detector/hashwork/words
	go test -count=1 -timeout 2h -v -exec '$(SUDO) env CRYPTNONO_REQUIRE_ROOT=1 SOAK=1' ./test/attacks
	go test -count=1 -timeout 1h -v -exec '$(SUDO) env CRYPTNONO_REQUIRE_ROOT=1 SOAK=1' -run AgentsAreKilled ./test/acceptance
	go test -count=1 -timeout 1h -v -exec '$(SUDO) env CRYPTNONO_REQUIRE_ROOT=1 SOAK=1' -run AtWork ./internal/detector/tcpflowkiller
	go test -count=1 -timeout 2h -v -exec '$(SUDO) env CRYPTNONO_REQUIRE_ROOT=1 SOAK=1' -run AtWork ./internal/detector/hashwork
	$(MAKE) test-kubernetes RUN=Alive
	$(MAKE) test-kubernetes RUN=Respond

.PHONY: lint
lint: ## Run golangci-lint, clang-format, vale, actionlint and shellcheck.
	$(LINT) run
	cd charts/tests && go tool -modfile=../../tools/go.mod golangci-lint run
	cd tools/site && go tool -modfile=../go.mod golangci-lint run
	clang-format-19 --dry-run --Werror $$(git ls-files '*.[ch]')
	CGO_ENABLED=1 go tool -modfile=tools/go.mod vale --no-global $$(git ls-files '*.md' '*.md.gotmpl' '*/NOTES.txt')
	go tool -modfile=tools/ci/go.mod actionlint
	shellcheck $$(git grep --untracked -lE '^#!/(usr/)?bin/(env )?(ba)?sh' -- ':!*.md' ':!*.go')

# Another database: make vulncheck VULNDB=-db=URL
.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities in the code that the program uses; asks vuln.go.dev.
	go tool -modfile=tools/ci/go.mod govulncheck $(VULNDB) ./cmd/...

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (25000x inputs, or e.g. 10m).
	scripts/fuzz $(FUZZTIME)

.PHONY: generate
generate: ## Compile the BPF programs and write their Go bindings.
	go generate ./...

.PHONY: drift
drift: ## Check that the generated files that are committed are what the sources give.
	scripts/check-drift

.PHONY: release
release: image-root ## Build bin/cryptnono-linux-ARCH and its SBOM for amd64 and arm64; vet for both.
	for arch in $(ARCHS); do GOARCH=$$arch go vet ./...; done

# The programs for each architecture, and what the image holds, in bin/image/ARCH.
# The SBOM names every module in a program. Its tool takes the architecture from
# GOARCH, with which it must not be built itself.
.PHONY: image-root
image-root:
	sbom=$$(go tool -modfile=tools/sbom/go.mod -n cyclonedx-gomod); \
	for arch in $(ARCHS); do \
		root=bin/image/$$arch; doc=$$root/usr/share/doc/cryptnono; \
		rm -rf $$root; install -d $$doc; install -m 644 LICENSE $$doc; \
		for program in $(PROGRAMS); do \
			binary=bin/$$program-linux-$$arch; \
			GOARCH=$$arch $(BUILD) -o $$binary ./cmd/$$program; \
			GOARCH=$$arch $$sbom bin -json -std -noserial -notimestamp -version '$(VERSION)' -output $$binary.cdx.json $$binary; \
			install $$binary $$root/$$program; install -m 644 $$binary.cdx.json $$doc/$$program.cdx.json; \
		done; \
		chmod -R u=rwX,go=rX $$root; \
	done

.PHONY: image
image: image-root ## Build bin/cryptnono-image.tar, an OCI image for amd64 and arm64.
	$(SUDO) scripts/build-image '$(VERSION)' $(ARCHS)

.PHONY: deb
deb: image-root ## Build bin/cryptnono_VERSION_ARCH.deb for amd64 and arm64.
	scripts/build-deb '$(VERSION)' $(ARCHS)

.PHONY: chart-package
chart-package: ## Build bin/cryptnono-VERSION.tgz, the chart.
	scripts/build-chart '$(VERSION)'

# All that a release consists of. REGISTRY is where its image and chart will be.
.PHONY: release-files
release-files: release image deb chart-package

# cosign, crane, helm, and a registry for the dry run: docs/releasing.md.
RELEASE_TOOLS := $(CURDIR)/.cache/release-tools

.PHONY: release-tools
release-tools:
	GOBIN=$(RELEASE_TOOLS) go -C tools/release install tool

.PHONY: release-login
release-login: release-tools ## Log in to REGISTRY as REGISTRY_USER, with REGISTRY_TOKEN.
	printenv REGISTRY_TOKEN | $(RELEASE_TOOLS)/crane auth login "$${REGISTRY%%/*}" --username "$$REGISTRY_USER" --password-stdin
	printenv REGISTRY_TOKEN | $(RELEASE_TOOLS)/helm registry login "$${REGISTRY%%/*}" --username "$$REGISTRY_USER" --password-stdin

.PHONY: publish
publish: release-tools ## Push and sign what release-files has built: VERSION=v1.2.3 REGISTRY=HOST/PATH BUILDER= RUN=.
	PATH=$(RELEASE_TOOLS):$$PATH scripts/publish '$(VERSION)'

.PHONY: verify-release
verify-release: release-tools ## Verify a published release: VERSION=v1.2.3 REGISTRY=HOST/PATH FILES=DIR BUILDER= VERIFY='cosign arguments'.
	PATH=$(RELEASE_TOOLS):$$PATH scripts/verify-release '$(VERSION)'

# Another address: make release-dry-run REGISTRY=localhost:5000/path
.PHONY: release-dry-run
release-dry-run: VERSION := v0.0.0-rc.1
release-dry-run: export REGISTRY := $(or $(REGISTRY),localhost:5917/cryptnono)
release-dry-run: deps release-tools release-files ## Publish into a registry on this machine, verify it, and install from it on a Kubernetes; as root.
	programs=$$(test/kubernetes/hyperkube/build) && \
	go test -count=1 -timeout 20m -v -run TestARelease -exec "$(SUDO) env CRYPTNONO_REQUIRE_ROOT=1 KUBERNETES=$$programs VERSION=$(VERSION) REGISTRY=$$REGISTRY RELEASE_TOOLS=$(RELEASE_TOOLS)" ./test/kubernetes

.PHONY: deps
deps: ## Install the Debian packages that `make test` needs.
	scripts/install-deps

.PHONY: clean
clean: ## Remove what was built.
	rm -rf bin .cache
