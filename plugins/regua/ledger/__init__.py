"""The ledger: what people and machines did and said, kept for good in a transactional store."""
