# Every target explains itself in its script; `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help release demo test fmt lint coverage bench down

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

release: ## build the hersh command as it is installed, debug information in a file beside it
	@scripts/release

demo: ## install what is missing, run a host, deploy examples/counter into gVisor, clean up
	@scripts/demo

test: ## install what is missing and run every check, real Docker and gVisor tests too
	@scripts/test

fmt: ## format the code
	@cargo fmt --all

lint: ## only the checks that run no test: format, clippy, docs, licences, style rules
	@scripts/test fmt clippy doc deny tidy

coverage: ## line coverage of machine and program; at least 95 % or it fails
	@scripts/test coverage

bench: ## measure: make bench SUITE=program (or watcher, start, host); PART=messages for one part, JSON=1 for JSON
	@scripts/bench $(SUITE) $(PART) $(if $(JSON),--json)

down: ## end and remove the private engines of demo, test and bench, should any be left
	@for name in demo test bench; do scripts/engine down target/engine/$$name; done
