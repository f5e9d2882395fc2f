"""How much may be sent to a provider now: quotas, slots, who waits, what headers say. `pipeline/limits.py` acts."""
