"""Whose access is taken away and given back: decided, proved, published, told (docs/reference/suspension.md)."""
