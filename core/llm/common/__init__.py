"""The vocabulary that every other folder speaks; imports nothing of `core.llm` outside itself."""
