"""From a company's own exports to typed, append-only raw tables: mapping, landing, reading, conversion, loading."""
