"""The command `core-llm`: what a person sees of the models of a configuration, and does to them."""
