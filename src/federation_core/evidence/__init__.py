"""Evidence: the keys and checkpoints of the log, packs, and the verifier that travels in them."""
