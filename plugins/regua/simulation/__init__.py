"""Past days under another policy: the night's own SQL, compiled once and run day after day in memory."""
