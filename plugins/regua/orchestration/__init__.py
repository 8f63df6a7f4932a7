"""The only package that imports Airflow: what DAG files share, and how a task calls a function of the rest."""
