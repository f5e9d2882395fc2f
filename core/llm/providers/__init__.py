"""Providers: one folder each; `base` is their contract, `config` what can be configured."""
