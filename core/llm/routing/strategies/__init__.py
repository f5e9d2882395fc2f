"""In which order candidates are tried: one small file of pure functions per family."""
