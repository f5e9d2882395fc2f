"""A module that cannot be imported."""

raise RuntimeError("secret text of a module")
