"""The only place where objects are wired."""

from firstlight.factory.outside import (
    compile_kernels,
    diagnose,
    fetch_sample,
    measure_file,
    simulate_colour_night,
    simulate_night,
    simulate_site,
    solve_file,
)
from firstlight.factory.workspace import Factory

__all__ = [
    "Factory",
    "compile_kernels",
    "diagnose",
    "fetch_sample",
    "measure_file",
    "simulate_colour_night",
    "simulate_night",
    "simulate_site",
    "solve_file",
]
