{# A number from 0.00 to 99.99 that is always the same for the same text, on every engine: the first five hexadecimal
   digits of its MD5. #}
{% macro stable_share(text) -%}
    {%- set digest = "md5(" ~ text ~ ")" -%}
    cast(
        {{ whole_quotient(
            "(" ~ hexadecimal_digit(digest, 1) ~ " * 65536 + " ~ hexadecimal_digit(digest, 2) ~ " * 4096 + "
            ~ hexadecimal_digit(digest, 3) ~ " * 256 + " ~ hexadecimal_digit(digest, 4) ~ " * 16 + "
            ~ hexadecimal_digit(digest, 5) ~ ") * 10000", "1048576"
        ) }} as decimal(5, 0)
    ) * cast(0.01 as decimal(3, 2))
{%- endmacro %}

{% macro hexadecimal_digit(digest, place) -%}
    ({{ dbt.position("substr(" ~ digest ~ ", " ~ place ~ ", 1)", "'0123456789abcdef'") }} - 1)
{%- endmacro %}
