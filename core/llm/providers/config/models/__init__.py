"""Everything that can be configured, as frozen data with its defaults. No behaviour."""
