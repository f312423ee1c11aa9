"""Forward migrations of the ledger's schema, one file a released version."""
