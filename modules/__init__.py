"""Host features built on the container, each a folder of its own."""
