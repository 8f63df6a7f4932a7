"""`python -m regua.transform.model_docs FILE`: dbt's own documentation of all models as one page."""

from __future__ import annotations

import sys
from pathlib import Path

from regua.settings import load_settings
from regua.transform.dbt_run import write_model_docs

if __name__ == "__main__":
    write_model_docs(load_settings(), Path(sys.argv[1]))
