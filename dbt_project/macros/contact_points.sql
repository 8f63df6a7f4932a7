{# An e-mail address in lower case, or null when it cannot be one. Deliverability is the channel's business. #}
{% macro normalised_email(expression) -%}
    {%- set address = "lower(trim(" ~ expression ~ "))" -%}
    case
        when {{ matches_whole(address, '[a-z0-9.!#$%&*+/=?^_`{|}~-]+@[a-z0-9-]+([.][a-z0-9-]+)*[.][a-z]{2,}') }} then {{ address }}
    end
{%- endmacro %}

{# A Brazilian phone in E.164, or null when it is not plausible: area codes as Anatel assigned them, then a mobile
   number of nine digits beginning with 9 or a fixed one of eight beginning with 2 to 5. Digits 55 in front are the
   country's code only when an area code and a number still follow: 55 is an area code as well. #}
{% macro phone_e164(expression) -%}
    {%- set area = '(1[1-9]|2[12478]|3[1-578]|4[1-9]|5[1345]|6[1-9]|7[134579]|8[1-9]|9[1-9])' -%}
    {%- set national = area ~ '(9[0-9]{8}|[2-5][0-9]{7})' -%}
    {%- set digits = keep_characters(expression, "0-9") -%}
    case
        when trim({{ expression }}) like '+%' and {{ digits }} not like '55%' then null
        when {{ matches_whole(digits, national) }} then '+55' || {{ digits }}
        when {{ matches_whole(digits, '0' ~ national) }} then '+55' || substr({{ digits }}, 2)
        when {{ matches_whole(digits, '55' ~ national) }} then '+' || {{ digits }}
        when {{ matches_whole(digits, '0055' ~ national) }} then '+' || substr({{ digits }}, 3)
    end
{%- endmacro %}

{# Of a number that phone_e164 made: mobile ones have nine digits after the area code. #}
{% macro is_mobile_number(expression) -%}
    coalesce(length({{ expression }}) = 14, false)
{%- endmacro %}
