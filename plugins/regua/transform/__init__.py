"""What runs the models: dbt in this process, and the calendar they rest on."""
