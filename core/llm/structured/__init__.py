"""Answers that fit a pydantic model: how they are asked for, read, mended within limits, and shown while they grow."""
