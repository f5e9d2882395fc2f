"""Who gets a call: pure decisions over one snapshot."""
