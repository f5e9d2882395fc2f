"""From a name and a configuration to a provider."""
