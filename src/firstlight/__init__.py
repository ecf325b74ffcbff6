"""firstlight: the data system of an observatory, from first light to light curve."""

__version__ = "0.1.0.dev0"
