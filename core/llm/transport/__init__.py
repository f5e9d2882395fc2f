"""How requests travel: HTTP, and a socket pair to a local worker process."""
