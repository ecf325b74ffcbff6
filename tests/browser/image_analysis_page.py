"""The pages of image analysis, as somebody goes through them."""

import uuid

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.models.audience import public_audience
from firstlight.models.object import Object


def add_object(portal, name, ra, dec):
    """A thing in the sky that everybody sees."""
    with portal.database.begin() as session:
        session.add(
            Object(
                id=uuid.uuid4(), name=name, ra=ra, dec=dec, hpx=int(healpix_index(ra, dec)),
                origin="test", audience_id=public_audience(session),
            )
        )  # fmt: skip


def upload(page, *files):
    """From the page of the object to the form that is filled in."""
    page.click("section >> text=Image Analysis")
    page.wait_for_selector("#upload")
    page.set_input_files("#files", [str(each) for each in files])
    page.wait_for_selector("#choices")


def ended(page):
    """Start the analysis, look at its steps as they go, and wait for its end."""
    page.click("#choices button.primary")
    page.wait_for_selector("#run")
    page.wait_for_selector(".steps .done, #fault")
    page.wait_for_selector("#run[data-state=done], #run[data-state=failed]", timeout=180_000)
    return page.get_attribute("#run", "data-state")
