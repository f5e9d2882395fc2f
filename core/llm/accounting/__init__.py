"""What was sent, and what it cost: one row per attempt."""
