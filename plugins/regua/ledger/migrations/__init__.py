"""The ledger's schema, step by step. A step that was released is never edited; the next one follows it."""
