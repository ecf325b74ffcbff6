"""Services of the archive: arrivals, search, downloads, expiry, events."""

# ruff: noqa: PLC0415, services load numerical libraries; a command loads only what it needs

from __future__ import annotations

import os
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from firstlight.factory.foundations import Foundations
from firstlight.services.intake.source_settings import WatchedBucketSettings, WatchedFolderSettings
from firstlight.storage import StorageSettings, Store, open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from firstlight.remotes.guarded_http import GuardedClient
    from firstlight.remotes.webhook_sender import WebhookSender
    from firstlight.services.accounts.tokens import AccessService
    from firstlight.services.expiry.expiration import ExpirationService
    from firstlight.services.expiry.expiration_rules import ExpirationRules
    from firstlight.services.expiry.leftovers import Leftovers
    from firstlight.services.expiry.lifecycle import LifecycleService
    from firstlight.services.finding.downloads import DownloadService
    from firstlight.services.finding.observations import ObservationService
    from firstlight.services.finding.search import SearchService
    from firstlight.services.finding.served_files import FileService
    from firstlight.services.finding.zip_links import ZipLinks
    from firstlight.services.intake.archive import ArchiveService
    from firstlight.services.intake.arrivals import ArrivalService
    from firstlight.services.intake.info_image_put import InfoImagePut
    from firstlight.services.intake.info_images import InfoImageService
    from firstlight.services.intake.upload_log import UploadLogService
    from firstlight.services.intake.uploads import UploadService
    from firstlight.services.intake.watched_sources import BucketEvents, WatchedBucket
    from firstlight.services.live import Source
    from firstlight.services.watching.event_stream import EventStreamService
    from firstlight.services.watching.notifications import NotificationService
    from firstlight.services.watching.webhooks import WebhookService
    from firstlight.services.web_settings import WebSettings

__all__ = ["ArchiveWiring"]


class ArchiveWiring(Foundations):
    """Builds the services of the archive, each when first asked for."""

    # --- what comes ------------------------------------------------------------------------

    @cached_property
    def archive(self) -> ArchiveService:
        """Files into the archive."""
        from firstlight.services.intake.archive import ArchiveService

        return ArchiveService(database=self.database, arrivals=self.arrivals)

    @cached_property
    def arrivals(self) -> ArrivalService:
        """What comes, from wherever."""
        from firstlight.services.intake.arrival_intake import Intake
        from firstlight.services.intake.arrival_record import ArrivalRecord
        from firstlight.services.intake.arrival_sources import Sources
        from firstlight.services.intake.arrivals import ArrivalService
        from firstlight.services.intake.exposure_rows import ExposureRows

        settings = self.settings.archive
        intake = Intake(
            store=self.store, sources=Sources(self.store, self.open_bucket), settings=settings
        )
        record = ArrivalRecord(
            database=self.database,
            intake=intake,
            rows=ExposureRows(settings, self.expiration_rules.expires_at),
            info_images=self.info_images,
            claim=self.leftovers.claim,
        )
        return ArrivalService(
            database=self.database, intake=intake, record=record, settings=settings
        )

    def open_bucket(self, name: str) -> Store:
        """Open a bucket that is watched, with its own way to reach it, or the archive's."""
        own = next((each for each in self.settings.sources.buckets if _name(each) == name), None)
        account = self.storage_settings if own is None else StorageSettings(**_storage(own))
        return open_store(account.model_copy(update={"root": f"s3://{name}", "cache_folder": None}))

    def sources(self, names: Sequence[str]) -> list[Source]:
        """Places to take files from: those named, or else those of the settings and the inbox."""
        if names:
            return [self._named_source(name) for name in names]
        chosen = self.settings.sources
        found: list[Source] = [self._folder(each) for each in chosen.folders]
        found += [self._bucket(each) for each in chosen.buckets if each.list_every_s is not None]
        found.append(self._inbox())
        for queue in chosen.queues:
            from firstlight.remotes.sqs import SqsQueue
            from firstlight.services.intake.watched_sources import SqsSource

            found.append(SqsSource(SqsQueue(queue), self.bucket_events, name=queue.url))
        return found

    def _named_source(self, name: str) -> Source:
        if "://" not in name:
            return self._folder(WatchedFolderSettings(path=Path(name).absolute()))
        account = self.storage_settings.model_dump()
        return self._bucket(WatchedBucketSettings(**{**account, "root": name}))

    def _folder(self, settings: WatchedFolderSettings) -> Source:
        from firstlight.services.intake.watched_sources import FolderSource, check_apart
        from firstlight.storage.folder_watch import FolderWatch

        # One folder, one name: files are known by theirs.
        folder = Path(os.path.normpath(self.workspace / settings.path.expanduser()))
        check_apart(self.storage_settings.root, str(folder))
        watch = FolderWatch(
            folder,
            quiet_s=settings.quiet_s,
            poll_s=settings.poll_s,
            full_pass_s=settings.full_pass_s,
            suffixes=settings.suffixes,
        )
        return FolderSource(watch, site=settings.site)

    def _bucket(self, settings: WatchedBucketSettings) -> Source:
        from firstlight.services.intake.watched_sources import (
            KeptState,
            S3ListingSource,
            check_apart,
        )
        from firstlight.storage.new_keys import BucketLister, NewKeys

        check_apart(self.storage_settings.root, settings.root)
        bucket = _watched(settings)
        keys = NewKeys(
            BucketLister.of(settings, is_ordered=settings.is_ordered),
            full_every=timedelta(seconds=settings.full_list_every_s),
        )
        kept = KeptState(self.store, bucket.root)
        return S3ListingSource(bucket, keys, kept, every_s=settings.list_every_s or 1.0)

    def _inbox(self) -> Source:
        from firstlight.services.intake.watched_sources import InboxSource

        # Uploads through the API are announced as they end; those into a bucket are not.
        return InboxSource(
            self.store,
            self.uploads,
            every_s=1.0 if self._in_bucket else 60.0,
            is_second_look=not self._in_bucket,
        )

    @cached_property
    def bucket_events(self) -> BucketEvents:
        """Messages of object storage into arrivals."""
        from firstlight.services.intake.watched_sources import BucketEvents, WatchedBucket

        watched = [_watched(each) for each in self.settings.sources.buckets]
        parts = urlsplit(self.storage_settings.root)
        own = WatchedBucket(parts.netloc, parts.path.strip("/")) if parts.scheme else None
        return BucketEvents(watched, uploads=self.uploads, own=own)

    @cached_property
    def uploads(self) -> UploadService:
        """Leave to upload, and the bytes."""
        from firstlight.services.intake.uploads import UploadService
        from firstlight.storage.presigned_post import upload_forms, upload_signer

        return UploadService(
            database=self.database,
            store=self.store,
            forms=upload_forms(self.storage_settings),
            signer=None if self._in_bucket else upload_signer(self.storage_settings),
            channels=self.info_images,
            settings=self.settings.uploads,
        )

    @cached_property
    def info_images(self) -> InfoImageService:
        """Pictures pinned to the channels of sites."""
        from firstlight.services.intake.info_images import InfoImageService

        return InfoImageService(database=self.database, rules=self.expiration_rules)

    @cached_property
    def info_image_put(self) -> InfoImagePut:
        """Pins a picture from the command line."""
        from firstlight.services.intake.info_image_put import InfoImagePut

        return InfoImagePut(
            database=self.database, arrivals=self.arrivals, info_images=self.info_images
        )

    @cached_property
    def upload_log(self) -> UploadLogService:
        """What has come, and what became of it."""
        from firstlight.services.intake.upload_log import UploadLogService

        return UploadLogService(database=self.database, kept=self.settings.expiration.upload_log)

    # --- what goes -------------------------------------------------------------------------

    @cached_property
    def expiration_rules(self) -> ExpirationRules:
        """When things are removed."""
        from firstlight.services.expiry.expiration_rules import ExpirationRules

        return ExpirationRules(self.settings.expiration)

    @cached_property
    def leftovers(self) -> Leftovers:
        """Bytes that nothing refers to any more."""
        from firstlight.services.expiry.leftovers import Leftovers

        return Leftovers(database=self.database, store=self.store, copies=self._copies())

    @cached_property
    def expiration(self) -> ExpirationService:
        """Removes what is due."""
        from firstlight.services.expiry.expiration import ExpirationService

        return ExpirationService(
            database=self.database,
            store=self.store,
            settings=self.settings.expiration,
            # In a folder an open file stays readable; a bucket breaks off who reads.
            grace=(self.settings.expiration.grace or timedelta())
            if self._in_bucket
            else timedelta(),
            copies=self._copies(),
        )

    @cached_property
    def lifecycle(self) -> LifecycleService:
        """Cheaper storage for old files."""
        from firstlight.services.expiry.lifecycle import LifecycleService

        return LifecycleService(storage=self.storage_settings, settings=self.settings.lifecycle)

    @property
    def _in_bucket(self) -> bool:
        return "://" in self.storage_settings.root

    def _copies(self) -> Path | None:
        """The folder with local copies of what is stored elsewhere."""
        return None if self._server() is None else self.data_folder

    # --- what is asked for -----------------------------------------------------------------

    @cached_property
    def search(self) -> SearchService:
        """Exposures by what is known of them."""
        from firstlight.services.finding.search import SearchService

        return SearchService(
            database=self.database,
            store=self.store,
            indexed_cards=self.settings.archive.indexed_cards,
        )

    @cached_property
    def downloads(self) -> DownloadService:
        """Files as people want them."""
        from firstlight.services.finding.downloads import DownloadService

        return DownloadService(
            database=self.database,
            store=self.store,
            search=self.search,
            files=self.served_files,
            leftovers=self.leftovers,
            keep_for=self.settings.expiration.downloads,
        )

    @cached_property
    def zip_links(self) -> ZipLinks:
        """Links to archives of a period."""
        from firstlight.services.finding.zip_links import ZipLinks

        return ZipLinks(self.secret)

    @cached_property
    def observations(self) -> ObservationService:
        """Sequences of exposures."""
        from firstlight.services.finding.observations import ObservationService

        return ObservationService(database=self.database)

    @property
    def web_settings(self) -> WebSettings:
        """Where the web application answers, and to whom."""
        return self.settings.web

    @cached_property
    def access(self) -> AccessService:
        """Tokens and permissions."""
        from firstlight.services.accounts.tokens import AccessService

        return AccessService(database=self.database, settings=self.settings.web)

    @cached_property
    def event_stream(self) -> EventStreamService:
        """Events, in order."""
        from firstlight.services.watching.event_stream import EventStreamService

        return EventStreamService(database=self.database)

    @cached_property
    def webhooks(self) -> WebhookService:
        """Addresses that are told of events."""
        from firstlight.services.watching.webhooks import WebhookService

        return WebhookService(
            database=self.database,
            sender=self._webhook_sender,
            secret=self.secret,
            check_url=self._outgoing.check_url,
        )

    @cached_property
    def notifications(self) -> NotificationService:
        """Tells webhooks of events."""
        from firstlight.services.watching.notifications import NotificationService

        return NotificationService(
            database=self.database,
            sender=self._webhook_sender,
            secret=self.secret,
            sites_of=self.access.sites_of,
            settings=self.settings.notifications,
        )

    @cached_property
    def _outgoing(self) -> GuardedClient:
        from firstlight.remotes.guarded_http import GuardedClient

        return GuardedClient(self.settings.outgoing)

    @cached_property
    def _webhook_sender(self) -> WebhookSender:
        from firstlight.remotes.webhook_sender import WebhookSender

        return WebhookSender(self._outgoing)

    @cached_property
    def served_files(self) -> FileService:
        """Files of the store, for whoever may read them."""
        from firstlight.services.finding.served_files import FileService
        from firstlight.storage.open_store import link_signer

        return FileService(
            database=self.database,
            store=self.store,
            links=link_signer(self.storage_settings),
        )


def _watched(settings: WatchedBucketSettings) -> WatchedBucket:
    from firstlight.services.intake.watched_sources import WatchedBucket

    parts = urlsplit(settings.root)
    return WatchedBucket(parts.netloc, parts.path.strip("/"), settings.site)


def _name(settings: WatchedBucketSettings) -> str:
    return urlsplit(settings.root).netloc


def _storage(settings: WatchedBucketSettings) -> dict[str, Any]:
    """The part of the settings that any store has."""
    return settings.model_dump(include=set(StorageSettings.model_fields))
