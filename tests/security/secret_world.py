"""A portal in which one group owns something of every noun, each with a mark that nobody else
may ever be shown."""

from __future__ import annotations

import base64
import datetime as dt
import io
import uuid
from dataclasses import dataclass, field

import httpx
from astropy.io import fits
from PIL import Image

from firstlight.models.arrival import Arrival
from firstlight.models.audience import audience_of
from firstlight.models.event import Event, record_events
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import ExposureFile, ExposureHeader
from firstlight.models.info_image import InfoImage, InfoImageFile
from firstlight.models.observation import Observation

MARK = "QVXSECRET"
"""In whatever only the owners may read."""
OBJECT = "QVXOBJECT"
SITE = "qvxsite"
BASE = "qvxsite-kb001ms-20220629-00000001"
MARKS = (MARK, OBJECT, SITE)
OUTSIDERS = (None, "stranger", "reader")
NIGHT = dt.date(2022, 6, 29)


@dataclass
class Secrets:
    """What the owners have; values for parameters of addresses, by the parameter's name."""

    values: dict[str, str] = field(default_factory=dict)


def fill(portal, address: str) -> Secrets:
    """Let the owner write down something of each kind, by the API where there is a way."""
    with httpx.Client(base_url=address, headers=portal.headers("root"), timeout=30) as root:
        group = _made(root, "/api/groups", {"name": f"{MARK} group"})["id"]
        _made(root, f"/api/groups/{group}/users", {"userID": portal.users["owner"]})
        _sent(root, "PUT", f"/api/groups/{group}", {"name": f"{MARK} group", "private": True})
        _made(root, f"/api/groups/{group}/sites", {"site": SITE})
        other = _made(root, "/api/groups", {"name": "strangers"})["id"]
        for name in ("stranger", "reader"):
            _made(root, f"/api/groups/{other}/users", {"userID": portal.users[name]})
        camera = _equipment(root)
        invited = _made(
            root,
            "/api/invitations",
            {"userEmail": f"{MARK}@example.org", "role": "Full user", "groupIDs": [group],
             "groupAdmin": [False], "streamIDs": []},
        )  # fmt: skip
    with httpx.Client(base_url=address, headers=portal.headers("owner"), timeout=30) as owner:
        secrets = _object(owner, group, camera)
    secrets.values |= _rows(portal, group)
    secrets.values |= {
        "group_id": str(group),
        "user_id": str(portal.users["owner"]),
        "instrument_id": str(camera),
        "telescope_id": "1",
        "invitation_id": str(invited.get("id", 1)),
    }
    return secrets


def _equipment(root: httpx.Client) -> int:
    telescope = _made(
        root,
        "/api/telescope",
        {"name": "T", "nickname": "T", "diameter": 1, "lat": 1, "lon": 1, "elevation": 1},
    )["id"]
    camera = {"name": "C", "type": "imager", "telescope_id": telescope, "filters": ["ztfg"]}
    return int(_made(root, "/api/instrument", camera)["id"])


def _object(owner: httpx.Client, group: int, camera: int) -> Secrets:
    groups = {"group_ids": [group]}
    _made(owner, "/api/sources", {"id": OBJECT, "ra": 123.4, "dec": 45.6, **groups})
    here = f"/api/sources/{OBJECT}"
    attached = {"name": f"{MARK}.txt", "body": base64.b64encode(MARK.encode()).decode()}
    comment = _made(owner, f"{here}/comments", {"text": MARK, "attachment": attached, **groups})
    annotation = _made(owner, f"{here}/annotations", {"origin": MARK, "data": {MARK: 1}, **groups})
    tree = {"class": f"{MARK} class", "subclasses": []}
    taxonomy = _made(
        owner, "/api/taxonomy", {"name": MARK, "version": "1", "hierarchy": tree, **groups}
    )["taxonomy_id"]
    said = {"obj_id": OBJECT, "classification": f"{MARK} class", "taxonomy_id": taxonomy, **groups}
    classification = _made(owner, "/api/classification", said)
    points = _made(
        owner,
        "/api/photometry",
        {"obj_id": OBJECT, "instrument_id": camera, "filter": "ztfg", "mjd": [60000.5],
         "flux": [100.0], "fluxerr": [1.0], "zp": 23.9, "magsys": "ab", "origin": MARK,
         "altdata": [{MARK: 1}], **groups},
    )  # fmt: skip
    spectrum = _made(
        owner,
        "/api/spectrum",
        {"obj_id": OBJECT, "instrument_id": camera, "observed_at": "2026-01-01T00:00:00",
         "wavelengths": [4000, 4001], "fluxes": [1, 2], "label": MARK, "origin": MARK, **groups},
    )  # fmt: skip
    token = _made(owner, "/api/internal/tokens", {"name": MARK, "acls": ["Comment"]})
    values = {
        "comment_id": comment["comment_id"],
        "annotation_id": annotation["annotation_id"],
        "taxonomy_id": taxonomy,
        "classification_id": classification["classification_id"],
        "photometry_id": points["ids"][0],
        "upload_id": points["upload_id"],
        "spectrum_id": spectrum["id"],
        "thumbnail_id": _thumbnail(owner),
        "image": _upload(owner),
        "token": token["token_id"],
        **_analyses(owner, group),
    }
    return Secrets({name: str(value) for name, value in values.items()})


def _picture() -> str:
    picture = io.BytesIO()
    Image.new("L", (32, 32), 90).save(picture, "PNG")
    return base64.b64encode(picture.getvalue()).decode()


def _thumbnail(owner: httpx.Client) -> int:
    sent = {"obj_id": OBJECT, "data": _picture(), "ttype": "new"}
    return int(_made(owner, "/api/thumbnail", sent)["id"])


def _upload(owner: httpx.Client) -> str:
    stream = io.BytesIO()
    fits.PrimaryHDU([[1.0, 2.0], [3.0, 4.0]]).writeto(stream)
    answer = owner.post("/api/image_uploads", files={"file": (f"{MARK}.fits", stream.getvalue())})
    assert answer.status_code < 300, answer.text
    data = answer.json()["data"]
    first = data[0] if isinstance(data, list) else data
    if "uploads" in first:
        first = first["uploads"][0]
    return str(first["id"])


def _analyses(owner: httpx.Client, group: int) -> dict[str, int]:
    """A service with a secret, uploaded results of another, and a default analysis."""
    groups = {"group_ids": [group]}
    facts = {"authentication_type": "none", "analysis_type": "meta_analysis", **groups}
    facts |= {"description": MARK, "contact_name": MARK, "version": MARK}
    told = {"input_data_types": ["redshift"], "url": f"https://a.example/{MARK}"}
    secret = {"header_token": {"Authorization": f"{MARK} token"}}
    known = {**facts, "authentication_type": "header_token", "_authinfo": secret}
    called = _made(owner, "/api/analysis_service", {**known, **told, "name": f"{MARK} called"})
    filtered = {"source_filter": {"classifications": [{"name": f"{MARK} other"}]}, **groups}
    _made(owner, f"/api/analysis_service/{called['id']}/default_analysis", filtered)
    uploads = {**facts, **told, "name": f"{MARK} uploads", "upload_only": True}
    service = _made(owner, "/api/analysis_service", uploads)["id"]
    samples = [[0.1 * number for number in range(60)], [number % 7 for number in range(60)]]
    results = {
        "results": {"format": "json", "data": {MARK: 1}},
        "plots": [{"format": "png", "data": _picture()}],
        "posterior_samples": {MARK: samples[0], "b": samples[1]},
        "model_lightcurve": {"ztfg": [[60000.5, 1.0, 0.9, 1.1]]},
        "model_name": MARK,
    }
    body = {"message": MARK, "analysis": results, **groups}
    run = _made(owner, f"/api/obj/{OBJECT}/analysis_upload/{service}", body)
    return {"service_id": called["id"], "analysis_id": run["id"]}


def _rows(portal, group: int) -> dict[str, str]:
    """What comes from telescopes and workers, put there directly."""
    database, store = portal.factory.database, portal.factory.store
    exposure = Exposure(
        id=uuid.uuid4(), nofile=True, instrument="GenericFITS", site=SITE, kind="science",
        camera="kb001ms", base_filename=BASE, label=BASE, data_type="EX", filter="rp",
        target=MARK, exp_time=60.0, mjd=59760.1, sort_mjd=59760.1, night=NIGHT, ra=123.4,
        dec=45.6, image_number=1,
    )  # fmt: skip
    observation = Observation(
        id=uuid.uuid4(), instrument="GenericFITS", target=MARK, night=NIGHT, site=SITE,
        sequence=f"{SITE}_seq",
    )  # fmt: skip
    picture = store.put(f"data/{BASE}-EX10.jpg", MARK.encode())
    pinned = store.put(f"info-images/{BASE}-EX10.jpg", MARK.encode() + b"1")
    report = store.put(f"portal/reports/{MARK}.png", MARK.encode() + b"2")
    with database.begin() as session:
        session.add(observation)
        session.flush()
        exposure.observation_id = observation.id
        session.add(exposure)
        session.flush()
        row = ExposureFile(
            exposure_id=exposure.id, name=f"{BASE}-EX10.jpg", role="jpg_medium",
            reduction_level="10", key=picture.key, size=picture.size, sha256=picture.sha256,
            md5=picture.md5,
        )  # fmt: skip
        row.identify()
        session.add(row)
        session.flush()
        session.add(
            ExposureHeader(id=row.id, exposure_id=exposure.id, rank=0, cards=[["OBJECT", MARK, ""]])
        )
        session.add(
            Arrival(id=uuid.uuid4(), source=f"/{MARK}", name=BASE, site=SITE, state="archived")
        )
        shown = InfoImage(
            id=uuid.uuid4(), site=SITE, channel=1, base_filename=BASE, data_type="EX",
            requested_at=dt.datetime.now(dt.UTC), shown_at=dt.datetime.now(dt.UTC),
            header=[["OBJECT", MARK, ""]],
        )  # fmt: skip
        session.add(shown)
        session.flush()
        session.add(
            InfoImageFile(
                id=uuid.uuid4(),
                info_image_id=shown.id,
                name=f"{BASE}-EX10.jpg",
                role="jpg_medium",
                reduction_level="10",
                key=pinned.key,
                size=pinned.size,
                sha256=pinned.sha256,
                md5=pinned.md5,
            )
        )
        audience = audience_of(session, groups=[group])
        record_events(
            session,
            [
                Event(topic="object", site=None, audience_id=audience, data={"object": MARK}),
                Event(topic="imagedata", site=SITE, data={"base_filename": MARK}),
            ],
        )
    return {
        "which": BASE,
        "file": f"{BASE}-EX10.jpg",
        "observation": f"{SITE}_seq",
        "report_key": report.key,
        "exposure_id": str(exposure.id),
    }


def _made(client: httpx.Client, path: str, body: dict) -> dict:
    return _sent(client, "POST", path, body)


def _sent(client: httpx.Client, method: str, path: str, body: dict) -> dict:
    answer = client.request(method, path, json=body)
    assert answer.status_code < 300, (method, path, answer.status_code, answer.text)
    return answer.json()["data"] or {}
