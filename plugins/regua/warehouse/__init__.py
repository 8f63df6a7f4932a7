"""The private DuckDB warehouse: one writer at a time, and the tables that are not dbt's."""
