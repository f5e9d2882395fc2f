"""A class of the user's for `engine` of the custom provider; docs/providers/custom.md explains it."""
