"""A product's side of régua's webhooks: it verifies them, and keeps what they say of each subscription."""
