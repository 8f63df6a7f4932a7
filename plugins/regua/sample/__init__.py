"""A made-up portfolio, seeded and dated, for demonstrations, tests and measurements."""
