"""Requests and responses of Ollama's API, one class for each side of each endpoint.

Requests are in `requests`; answers of models in `responses`, answers about models in `catalogue`.
"""
