"""The only place where objects are wired."""

from firstlight.factory.outside import (
    compare_files,
    compile_kernels,
    diagnose,
    fetch_sample,
    measure_file,
    simulate_colour_night,
    simulate_night,
    simulate_pair,
    simulate_site,
    solve_file,
)
from firstlight.factory.workspace import Factory

__all__ = [
    "Factory",
    "compare_files",
    "compile_kernels",
    "diagnose",
    "fetch_sample",
    "measure_file",
    "simulate_colour_night",
    "simulate_night",
    "simulate_pair",
    "simulate_site",
    "solve_file",
]
