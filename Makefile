# Everything that is done with this tree is a target here; CI, README and CONTRIBUTING call these and nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
