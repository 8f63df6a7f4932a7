"""The night: its stages in order, the same functions for Airflow and for `regua run`."""
