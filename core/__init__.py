"""The application core: a container with a lifecycle, and the LLM layer that lives in it."""
