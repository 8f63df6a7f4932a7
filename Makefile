# The habits of the house. Needs Python 3.11 or 3.12 with pip, and make; everything else is installed below this folder.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

UV_VERSION := 0.13.9
UV := .uv/$(UV_VERSION)/bin/uv
BIN := .venv/bin
ENVIRONMENT := .venv/.synced

export REGUA_HOME ?= $(CURDIR)/.regua
AIRFLOW := . scripts/airflow-env &&
AIRFLOW_READY := $(REGUA_HOME)/airflow/.ready

# The night that `make run` shows: the last day of the sample's two years. Nobody is suspended who was not in notice on
# the list of an earlier day, so that one is published first.
AS_OF ?= 2026-06-30
EVE ?= $(shell date -d '$(AS_OF) - 1 day' +%F 2>/dev/null || date -j -v-1d -f %F '$(AS_OF)' +%F)
N ?= 1000000

# uv uses the Python found here and fetches none.
PYTHON = $(shell for name in python3 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.version_info[:2] in ((3, 11), (3, 12)) or sys.exit(1); print(sys.executable)' 2>/dev/null && break; done)
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

# By this secret the example receiver knows that a webhook is ours. Where it counts, give REGUA_WEBHOOK_SECRET a real one.
run up: export REGUA_WEBHOOK_SECRET ?= whsec_b25seS1mb3ItdGhpcy1tYWNoaW5l

.PHONY: run
run: $(AIRFLOW_READY) ## set everything up, run a night of sample data through Airflow, write its messages and lists as files
	$(BIN)/regua sample generate --customers 5000 --months 24 --as-of $(AS_OF)
	$(BIN)/regua run --as-of $(EVE)
	$(BIN)/regua plan --as-of $(EVE)
	$(BIN)/regua suspensions publish --as-of $(EVE) --once
	$(AIRFLOW) airflow dags test receivables_nightly $(AS_OF)T02:00:00-03:00
	$(BIN)/regua night show --as-of $(AS_OF) --require-success --explain-one
	$(AIRFLOW) airflow dags test regua_plan $(AS_OF)T02:30:00-03:00
	$(AIRFLOW) airflow dags test regua_dispatch $(AS_OF)T10:00:00-03:00
	$(BIN)/regua ledger status --as-of $(AS_OF)
	@# A person approves in Airflow's interface; `dags test` has none, so its tasks are passed over and the command decides.
	$(AIRFLOW) airflow dags test suspensions_publish $(AS_OF)T11:00:00-03:00 \
		--mark-success-pattern '^(approve|publish_approved|hand_over_approved)$$'
	@for number in $$($(BIN)/regua suspensions waiting); do \
		$(BIN)/regua suspensions proposal $$number; \
		$(BIN)/regua suspensions approve $$number --author make-run; done
	scripts/deliver-to-example
	$(BIN)/regua suspensions status
	@for manifest in $(REGUA_HOME)/suspensions/suspensions_$(AS_OF)*_manifest.json; do $(BIN)/regua suspensions verify $$manifest; done
	@echo "The panel, to open in a browser: $$($(BIN)/regua panel export)"
	@echo "Nobody was contacted. What would have been sent: $(REGUA_HOME)/preview/$(AS_OF)/index.html"
	@echo "Who would be without access: $(REGUA_HOME)/suspensions/"

.PHONY: test
test: $(ENVIRONMENT) ## set everything up and run all tests
	$(BIN)/pytest -n auto --dist loadfile

.PHONY: lint
lint: $(ENVIRONMENT) ## check style, SQL, types and the lock file; changes nothing
	$(UV) lock --check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/sqlfluff lint dbt_project

.PHONY: docs
docs: $(ENVIRONMENT) ## write the reference pages that are made from the code, and dbt's page of all models (.regua/dbt-docs)
	$(BIN)/python -m regua.contract.contract_page > docs/reference/contract.md.new
	mv docs/reference/contract.md.new docs/reference/contract.md
	$(BIN)/python -m regua.policy.json_schema > include/policies/policy.schema.json.new
	mv include/policies/policy.schema.json.new include/policies/policy.schema.json
	$(BIN)/python -m regua.policy.policy_page > docs/reference/policy.md.new
	mv docs/reference/policy.md.new docs/reference/policy.md
	$(BIN)/python -m regua.transform.model_docs $(REGUA_HOME)/dbt-docs/index.html

.PHONY: bench
bench: $(ENVIRONMENT) ## time every stage on N invoices (make bench N=10000000)
	$(BIN)/python -m bench --invoices $(N)

.PHONY: faults
faults: $(ENVIRONMENT) ## kill dispatchers ten thousand times and look for a message sent twice
	PYTHONPATH=plugins:. nice $(BIN)/python -m tests.faults.crash_harness --kills 10000 --jobs 4

.PHONY: up
up: $(AIRFLOW_READY) ## run a whole Airflow with its interface here, until Ctrl-C
	scripts/airflow-up

.PHONY: clean
clean: ## remove the environment and caches; data in .regua stays
	rm -rf .venv .uv .mypy_cache .pytest_cache .ruff_cache .hypothesis dbt_project/target dbt_project/logs

$(UV):
	@test -n "$(PYTHON)" || { echo "régua needs Python 3.11 or 3.12, and found neither as python3, python3.12 or python3.11." >&2; \
		echo "Install one (Debian, Ubuntu: apt install python3.12 python3-pip; macOS: brew install python@3.12), then run make again." >&2; exit 1; }
	"$(PYTHON)" -m pip install --quiet --disable-pip-version-check --target .uv/$(UV_VERSION) uv==$(UV_VERSION)

$(ENVIRONMENT): pyproject.toml uv.lock | $(UV)
	# With what production adds, so that the tests load it too.
	$(UV) sync --frozen --extra production --python "$(PYTHON)"
	@touch $@

$(AIRFLOW_READY): uv.lock scripts/airflow-env | $(ENVIRONMENT)
	mkdir -p $(@D)
	$(AIRFLOW) airflow db migrate
	$(AIRFLOW) airflow pools set warehouse 1 "The one writer of the warehouse"
	@touch $@
