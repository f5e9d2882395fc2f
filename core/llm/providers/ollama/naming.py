"""Model names as Ollama reads them: `name` is `name:latest`, and case does not matter."""


def canonical_name(model: str) -> str:
    """The full form of *model*, for comparing names."""
    name = model.strip().lower()
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
