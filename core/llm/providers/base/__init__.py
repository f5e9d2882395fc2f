"""The contract between the call pipeline and a provider."""
