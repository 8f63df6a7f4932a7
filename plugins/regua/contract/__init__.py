"""The canonical entities that every source is turned into, written once in contract.yml."""
