"""The recipe: ordered steps on model objects in memory, without I/O."""
