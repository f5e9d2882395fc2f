"""What surrounds a call: one layer a file; `build` names their order."""
