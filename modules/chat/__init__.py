"""A conversation in the terminal: a host application of the LLM layer, written as any other would be."""
