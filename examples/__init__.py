"""What others may begin from; nothing of régua needs it."""
