"""Pure functions on numpy arrays and plain numbers: no files, tables, logging or clocks."""
