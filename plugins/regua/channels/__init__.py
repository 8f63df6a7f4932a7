"""From a planned message to a provider's answer: what is written, how it is checked, and one module a channel."""
