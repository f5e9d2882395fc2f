"""Which configuration is live: built whole, swapped once, drained, disposed."""
