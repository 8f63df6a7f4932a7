-- Pseudo-randomness that is a function of (seed, id): the same on every machine, with any number of threads and with any
-- version of DuckDB (whose hash() may change). The mixer is the 32-bit finaliser "lowbias32"; md5 took 40 times as long.
create macro folded(bits, places) as xor(bits, bits >> places);
create macro mixed(bits) as
    folded((folded((folded(bits, 16) * 2146121005) % 4294967296, 15) * 2221713035) % 4294967296, 16);
create macro stirred(bits, salt) as mixed((bits + salt::ubigint * 2654435769) % 4294967296);
-- A whole number from 0 to 9999.
create macro draw(bits, salt) as (stirred(bits, salt) % 10000)::integer;
create macro picked(words, bits, salt) as words[1 + (stirred(bits, salt) % len(words))::integer];

-- Check digit of CPF and CNPJ: modulus 11; a character counts as its ASCII code less 48 (alphanumeric CNPJ, July 2026).
create macro weighed(characters, weights) as
    list_sum(list_transform(weights, lambda weight, place: weight * (ascii(characters[place]) - 48)))::bigint;
create macro check_digit(characters, weights) as
    case when weighed(characters, weights) % 11 < 2 then '0'
    else (11 - weighed(characters, weights) % 11)::varchar end;
create macro with_check_digits(characters, first_weights, second_weights) as
    characters || check_digit(characters, first_weights)
    || check_digit(characters || check_digit(characters, first_weights), second_weights);
create macro cpf(nine_digits) as
    with_check_digits(nine_digits, [10, 9, 8, 7, 6, 5, 4, 3, 2], [11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
create macro cnpj(twelve_characters) as
    with_check_digits(
        twelve_characters, [5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2], [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]
    );

create macro money(cents) as (cents::decimal(15, 0) * 0.01::decimal(3, 2))::decimal(18, 2);
create macro next_weekday(day) as day + case isodow(day) when 5 then 3 when 6 then 2 else 1 end;
