"""Where rows are kept: in memory, or in a file that outlives the process."""
