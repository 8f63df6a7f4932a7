{# CPF and CNPJ. A CNPJ is text: since July 2026 its first twelve characters may be letters (Receita Federal,
   Instrução Normativa RFB 2.229/2024). A character is worth its ASCII code less 48. #}

{% macro normalised_document(expression) -%}
    nullif({{ keep_characters("upper(" ~ expression ~ ")", "0-9A-Z") }}, '')
{%- endmacro %}

{% macro document_type_code(document) -%}
    case
        when {{ matches_whole(document, '[0-9]{11}') }} then 'cpf'
        when {{ matches_whole(document, '[0-9A-Z]{12}[0-9]{2}') }} then 'cnpj'
    end
{%- endmacro %}

{# The check digit that follows the first `weights | length` characters: modulus 11, where 10 and 11 become 0. #}
{% macro check_digit(document, weights) -%}
    (11 - (
        {%- for weight in weights %}
        (ascii(substr({{ document }}, {{ loop.index }}, 1)) - 48) * {{ weight }}{{ " +" if not loop.last }}
        {%- endfor %}
    ) % 11) % 11 % 10
{%- endmacro %}

{% macro is_check_digit_right(document, weights) -%}
    {{ check_digit(document, weights) }} = ascii(substr({{ document }}, {{ weights | length + 1 }}, 1)) - 48
{%- endmacro %}

{# Expects a normalised document and its type; a document made of one repeated character is refused. #}
{% macro is_document_valid(document, type_code) -%}
    {%- set cpf = range(11, 1, -1) | list -%}
    {%- set cnpj = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2] -%}
    coalesce(
        replace({{ document }}, substr({{ document }}, 1, 1), '') <> ''
        and case {{ type_code }}
            when 'cpf' then
                {{ is_check_digit_right(document, cpf[1:]) }}
                and {{ is_check_digit_right(document, cpf) }}
            when 'cnpj' then
                {{ is_check_digit_right(document, cnpj[1:]) }}
                and {{ is_check_digit_right(document, cnpj) }}
        end,
        false
    )
{%- endmacro %}
