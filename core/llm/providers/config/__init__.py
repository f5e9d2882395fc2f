"""What can be configured, and how a YAML file becomes it."""
