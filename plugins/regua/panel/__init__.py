"""The panel: what managers look at, from the served marts; one page, in Airflow and as a file."""
