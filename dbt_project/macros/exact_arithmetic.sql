{# Exact quotients, in whole numbers: a decimal divided by a decimal is a floating number in DuckDB. #}

{% macro whole_number_type() %}
    {{- return(adapter.dispatch('whole_number_type')()) -}}
{% endmacro %}

{% macro default__whole_number_type() -%}
    decimal(38, 0)
{%- endmacro %}

{% macro duckdb__whole_number_type() -%}
    hugeint
{%- endmacro %}

{% macro whole_quotient(numerator, denominator) %}
    {{- return(adapter.dispatch('whole_quotient')(numerator, denominator)) -}}
{% endmacro %}

{% macro default__whole_quotient(numerator, denominator) -%}
    ({{ numerator }}) div ({{ denominator }})
{%- endmacro %}

{% macro duckdb__whole_quotient(numerator, denominator) -%}
    ({{ numerator }}) // ({{ denominator }})
{%- endmacro %}

{# A number of two decimals, in hundredths. #}
{% macro hundredths(expression) -%}
    cast(({{ expression }}) * 100 as {{ whole_number_type() }})
{%- endmacro %}

{% macro from_hundredths(expression) -%}
    cast({{ expression }} as decimal(18, 0)) * cast(0.01 as decimal(3, 2))
{%- endmacro %}

{# The quotient of two whole numbers, neither negative, times `factor`, with two decimals rounded half up; null when the
   denominator is zero. A factor of 100 gives a percentage. #}
{% macro rounded_quotient(numerator, denominator, factor=1) -%}
    {{ from_hundredths(whole_quotient(
        "cast(" ~ numerator ~ " as " ~ whole_number_type() ~ ") * " ~ factor * 200 ~ " + (" ~ denominator ~ ")",
        "nullif(cast(" ~ denominator ~ " as " ~ whole_number_type() ~ ") * 2, 0)"
    )) }}
{%- endmacro %}

{# `percentage` of `amount` (two decimals each) times `parts` / `whole`, in money, rounded half up. #}
{% macro percentage_of(amount, percentage, parts=1, whole=1) -%}
    {{ money(from_hundredths(whole_quotient(
        hundredths(amount) ~ " * " ~ hundredths(percentage) ~ " * (" ~ parts ~ ") * 2 + " ~ whole * 10000,
        whole * 20000
    ))) }}
{%- endmacro %}
