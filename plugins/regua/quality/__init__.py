"""The two gates: what must be true of raw before modelling, and of the marts before anybody reads them."""
