"""Provenance, Software and Tag: what made a product, and which products are current."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from sqlalchemy import Column, ForeignKey, String, Table
from sqlalchemy.orm import Mapped, Session, declared_attr, mapped_column, relationship

from firstlight.models.base import Base, Timestamped
from firstlight.models.database import bulk_insert
from firstlight.provenance.code_version import software_id, software_versions
from firstlight.provenance.fingerprint import product_id
from firstlight.provenance.lineage import Lineage

__all__ = ["Product", "Provenance", "ProvenanceTag", "Software"]

provenance_upstreams = Table(
    "provenance_upstreams",
    Base.metadata,
    Column("downstream_id", ForeignKey("provenances.id"), primary_key=True),
    Column("upstream_id", ForeignKey("provenances.id"), primary_key=True, index=True),
)


class Provenance(Timestamped, Base):
    """Process, step version, critical parameters and upstreams, identified by their hash.

    One row serves every product made in that way, so a survey has few of them.
    """

    __tablename__ = "provenances"

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    process: Mapped[str] = mapped_column(String(64), index=True)
    step_version: Mapped[str] = mapped_column(String(32))
    parameters: Mapped[dict[str, Any]]
    upstreams: Mapped[list[Provenance]] = relationship(
        secondary=provenance_upstreams,
        primaryjoin=lambda: Provenance.id == provenance_upstreams.c.downstream_id,
        secondaryjoin=lambda: Provenance.id == provenance_upstreams.c.upstream_id,
        order_by=lambda: Provenance.process,
    )

    @classmethod
    def record(cls, session: Session, lineage: Lineage) -> Provenance:
        """Fetch or add the rows of `lineage` and everything upstream of it."""
        for node in lineage.walk():
            if session.get(cls, node.id) is None:
                _insert(session, node)
        return session.get_one(cls, lineage.id)


def _insert(session: Session, node: Lineage) -> None:
    """Add one row and its links, unless another process does so at the same moment."""
    row = {
        "id": node.id,
        "process": node.process,
        "step_version": node.step_version,
        "parameters": dict(node.parameters),
    }
    bulk_insert(session, Provenance, [row])
    links = [{"downstream_id": node.id, "upstream_id": upper.id} for upper in node.upstreams]
    bulk_insert(session, provenance_upstreams, links)


class ProvenanceTag(Timestamped, Base):
    """A name for a set of provenances, one for each process: for example ``current``."""

    __tablename__ = "provenance_tags"

    tag: Mapped[str] = mapped_column(String(64), primary_key=True)
    process: Mapped[str] = mapped_column(String(64), primary_key=True)
    provenance_id: Mapped[str] = mapped_column(ForeignKey("provenances.id"), index=True)

    @classmethod
    def point(cls, session: Session, tag: str, lineage: Lineage) -> None:
        """Make `tag` name `lineage` and all that is upstream of it."""
        Provenance.record(session, lineage)
        for node in lineage.walk():
            row = session.get(cls, (tag, node.process))
            if row is None:
                session.add(cls(tag=tag, process=node.process, provenance_id=node.id))
            else:
                row.provenance_id = node.id


class Software(Timestamped, Base):
    """Versions of firstlight and the numerical libraries that made a product."""

    __tablename__ = "software"

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    versions: Mapped[dict[str, Any]]

    @classmethod
    def record(cls, session: Session) -> Software:
        """Fetch or add the row of the running software."""
        if session.get(cls, software_id()) is None:
            row = {"id": software_id(), "versions": dict(software_versions())}
            bulk_insert(session, cls, [row])
        return session.get_one(cls, software_id())


class Product(Timestamped):
    """What every product row has: an id made of its inputs, its provenance, its software."""

    __abstract__ = True
    process: ClassVar[str]

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)

    @declared_attr
    def provenance_id(cls) -> Mapped[str]:  # noqa: N805, declared_attr passes the class
        """Fingerprint of how it was made."""
        return mapped_column(ForeignKey("provenances.id"), index=True)

    @declared_attr
    def software_id(cls) -> Mapped[str]:  # noqa: N805, declared_attr passes the class
        """Fingerprint of the software that made it."""
        return mapped_column(ForeignKey("software.id"))

    def made_by(self, lineage: Lineage, inputs: dict[str, object], part: str = "") -> None:
        """Set id, provenance and software from the lineage and the inputs."""
        self.id = product_id(lineage.id, inputs, part)
        self.provenance_id = lineage.id
        self.software_id = software_id()
