"""Packaged facts about models and servers: dated data, never code."""
