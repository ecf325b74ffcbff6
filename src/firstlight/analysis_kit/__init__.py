"""What the author of an analysis service imports: read the inputs, tell progress, give results.

An analysis service gets the data of one object and gives back numbers, plots, a posterior or a
model of the light curve. Its author writes one function::

    from firstlight.analysis_kit import Inputs, Progress, Results

    def fit(inputs: Inputs, progress: Progress) -> Results:
        flux = inputs.photometry["flux"]
        return Results(results={"mean_flux_ujy": flux.mean()})

and ``firstlight analysis serve my_service.py:fit`` makes it a service. Nothing here needs the
rest of the house, a workspace or a database.
"""

from firstlight.analysis_kit.declaration import ServiceDeclaration
from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.inputs import Inputs, Redshift
from firstlight.analysis_kit.progress import Progress
from firstlight.analysis_kit.results import Plot, Results

__all__ = [
    "AnalysisFailed",
    "Inputs",
    "Plot",
    "Progress",
    "Redshift",
    "Results",
    "ServiceDeclaration",
]
