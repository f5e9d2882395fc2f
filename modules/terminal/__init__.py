"""What applications show of models in a terminal: figures, progress, tables. Knows no application."""
