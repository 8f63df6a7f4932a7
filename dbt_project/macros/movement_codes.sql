{# What an open balance goes through from one night to the next, in reading order: opening + movements = closing. #}
{% macro movement_codes() %}
    {{- return([
        "opening",
        "initial",
        "restated",
        "issued",
        "paid",
        "reversed",
        "credited",
        "excess",
        "cancelled",
        "written_off",
        "closing",
    ]) -}}
{% endmacro %}
