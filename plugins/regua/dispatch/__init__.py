"""From the night's decisions to messages that went out at most once: plan, gate, claim, send, recall, evidence."""
