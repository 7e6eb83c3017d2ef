//! One blob on its way: asked for at the destination, read at the source, sent, and tried again where that may help.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::BackoffBuilder as _;
use bytes::Bytes;

use super::Engine;
use super::board::{BlobKey, Scope, Ticket, Work};
use super::opening::{Arrival, Opening};
use super::stream::{SourceFault, verified};
use crate::event::{Category, Event, Failure};
use crate::reference::Repository;
use crate::registry::{BlobReader, Error, ErrorKind, RepositoryClient, Started, Upload};

/// Tries of one blob in one round, beside what is resumed within a try.
const TRIES: usize = 4;
/// Tries of a blob whose bytes were wrong: another read may be right, many will not be.
const TRIES_IF_CORRUPT: usize = 2;

/// Ways to send a blob that a registry can make us try one after the other.
const WAYS: usize = 4;

/// Which side failed, and how.
struct Fault {
    side: Side,
    error: Error,
    /// Whether the request was repeated already, as small requests are: then the blob is not tried again for it.
    was_repeated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

fn at_source(error: Error) -> Fault {
    Fault { side: Side::Source, error, was_repeated: false }
}

fn at_destination(error: Error) -> Fault {
    Fault { side: Side::Destination, error, was_repeated: false }
}

impl Fault {
    fn is_lost_upload(&self) -> bool {
        self.side == Side::Destination && self.error.is_lost_upload()
    }

    fn after_repeats(self) -> Self {
        // Wrong bytes are seen only when the request is over.
        Self { was_repeated: self.error.category() != Category::Corrupt, ..self }
    }
}

/// Gives the ticket back if its task ends without having said what came of it.
///
/// It is made before the task is: one that is cancelled before it has begun has a ticket, too.
struct Guard {
    engine: Arc<Engine>,
    ticket: Option<Ticket>,
}

impl Guard {
    fn close(mut self, tell: impl FnOnce(&Ticket)) {
        if let Some(ticket) = self.ticket.take() {
            tell(&ticket);
        }
        self.engine.dispatch();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let failure =
                if self.engine.cancel.is_cancelled() { Failure::cancelled() } else { Failure::internal("blob") };
            self.engine.board.aborted(&ticket, &failure);
            self.engine.dispatch();
        }
    }
}

impl Engine {
    /// Starts whatever may start now. At the end of a round that is nothing.
    pub(super) fn dispatch(self: &Arc<Self>) {
        let round = self.round();
        if round.is_cancelled() {
            return;
        }
        for ticket in self.board.take_ready() {
            let guard = Guard { engine: self.clone(), ticket: Some(ticket) };
            let round = round.clone();
            self.flights.spawn(async move { round.run_until_cancelled(fly(guard)).await });
        }
    }

    fn tell_arrival(&self, key: &BlobKey, repository: &Repository, arrival: &Arrival, began: Instant) {
        if let (Arrival::Present, Some(destination)) = (arrival, self.destinations().get(repository)) {
            destination.note_blob_found();
        }
        let (repository, digest, bytes) = (repository.clone(), key.digest.clone(), key.size);
        self.tell(match arrival {
            Arrival::Sent => Event::BlobMoved { repository, digest, bytes, elapsed: began.elapsed() },
            Arrival::Mounted(from) => Event::BlobMounted { repository, digest, bytes, from: from.clone() },
            Arrival::Present => Event::BlobPresent { repository, digest },
        });
    }

    /// Brings the blob from the first source that has it, or says why none would do.
    async fn bring_from_any(
        &self,
        key: &BlobKey,
        sources: &[Repository],
        destination: &RepositoryClient,
        mut upload: Option<Upload>,
    ) -> Result<Arrival, Vec<(Scope, Failure)>> {
        let mut reasons = Vec::new();
        for source in sources {
            match self.bring(key, &self.clients.reader(source), destination, upload.take()).await {
                Ok(arrival) => return Ok(arrival),
                Err(fault) => {
                    reasons.push((scope(&fault, source), fault.error.to_failure()));
                    if fault.side == Side::Destination {
                        break;
                    }
                }
            }
        }
        Err(reasons)
    }

    async fn bring(
        &self,
        key: &BlobKey,
        source: &RepositoryClient,
        destination: &RepositoryClient,
        mut upload: Option<Upload>,
    ) -> Result<Arrival, Fault> {
        let mut pauses = pauses();
        let (mut tries, mut ways) = (0, 0);
        loop {
            let fault = match self.attempt(key, source, destination, upload.take()).await {
                Ok(arrival) => return Ok(arrival),
                Err(fault) => fault,
            };
            if fault.error.wants_other_portions() && ways < WAYS {
                // The registry has been understood, and nothing is wrong.
                ways += 1;
                tracing::info!(digest = %key.digest, "{}; it is sent in another way", fault.error);
                continue;
            }
            if fault.side == Side::Destination && matches!(fault.error.kind, ErrorKind::WrongSize { .. }) {
                // It has something else under this digest, and would say that the blob is there.
                self.beliefs.was_wrong(&key.registry);
            }
            tries += 1;
            let allowed = if fault.error.category() == Category::Corrupt { TRIES_IF_CORRUPT } else { TRIES };
            let again =
                tries < allowed && !fault.was_repeated && (fault.error.is_transient() || fault.is_lost_upload());
            let Some(pause) = pauses.next().filter(|_| again) else { return Err(fault) };
            let pause = fault.error.retry_after().unwrap_or(pause);
            self.tell(Event::BlobRetried {
                repository: destination.repository().clone(),
                digest: key.digest.clone(),
                failure: fault.error.to_failure(),
                pause,
            });
            tokio::time::sleep(pause).await;
        }
    }

    /// One try: is it there, or can it be linked; if not, read it and send it.
    async fn attempt(
        &self,
        key: &BlobKey,
        source: &RepositoryClient,
        destination: &RepositoryClient,
        upload: Option<Upload>,
    ) -> Result<Arrival, Fault> {
        let BlobKey { digest, size, .. } = key;
        let open = async {
            match upload {
                Some(upload) => Ok(Opening::Upload(upload)),
                None => {
                    let opening = self.open(key, source.repository(), destination).await;
                    opening.map_err(|error| at_destination(error).after_repeats())
                }
            }
        };
        // Where the destination has nothing, the source can be opened beside the upload; else it may not be needed.
        let beside = self.seems_empty(destination.repository());
        // An empty blob is no stream: nobody asks for a body without bytes, and so nobody would verify it.
        if *size == 0 || *size < self.limits.streamed_from {
            let read =
                async { source.small_blob(digest, *size).await.map_err(|error| at_source(error).after_repeats()) };
            match gather(beside, open, read).await? {
                Gathered::There(arrival) => return Ok(arrival),
                Gathered::Ready(upload, content) => {
                    send_tiny(key, content, destination, upload).await.map_err(at_destination)?;
                }
            }
        } else {
            let read = async { source.read_blob(digest, *size, 0).await.map_err(at_source) };
            match gather(beside, open, read).await? {
                Gathered::There(arrival) => return Ok(arrival),
                Gathered::Ready(upload, reader) => send(key, source, reader, destination, upload).await?,
            }
        }
        Ok(Arrival::Sent)
    }
}

/// Does what a ticket says, and tells the board what came of it.
async fn fly(mut guard: Guard) {
    let engine = guard.engine.clone();
    let Some(ticket) = &mut guard.ticket else { return };
    let key = ticket.key.clone();
    let destination = engine.clients.writer(&ticket.destination);
    let upload = match &mut ticket.work {
        Work::Move { upload, .. } => upload.take(),
        Work::Mount { .. } => None,
    };
    let Some(ticket) = &guard.ticket else { return };
    match &ticket.work {
        Work::Mount { .. } if !engine.beliefs.may_mount(&key.registry) => {
            guard.close(|ticket| engine.board.mount_refused(ticket, None));
        }
        Work::Mount { from } => match destination.mount(&key.digest, from).await {
            Ok(Started::Mounted) => {
                engine.tell_arrival(&key, &ticket.destination, &Arrival::Mounted(from.clone()), Instant::now());
                guard.close(|ticket| engine.board.landed(ticket));
            }
            // It says nothing of what was there before.
            Ok(Started::Upload(upload)) => match engine.is_there(&destination, &key).await {
                Ok(true) => {
                    engine.tell_arrival(&key, &ticket.destination, &Arrival::Present, Instant::now());
                    guard.close(|ticket| engine.board.landed(ticket));
                }
                _ => guard.close(|ticket| engine.board.mount_refused(ticket, Some(upload))),
            },
            Err(error) => {
                tracing::debug!(%error, "not mounted");
                guard.close(|ticket| engine.board.mount_refused(ticket, None));
            }
        },
        Work::Move { sources, .. } => {
            let began = Instant::now();
            let result = engine.bring_from_any(&key, sources, &destination, upload).await;
            match result {
                Ok(arrival) => {
                    engine.tell_arrival(&key, &ticket.destination, &arrival, began);
                    guard.close(|ticket| engine.board.landed(ticket));
                }
                Err(reasons) => guard.close(|ticket| engine.board.failed(ticket, &reasons)),
            }
        }
    }
}

/// Both ends of a transfer.
enum Gathered<T> {
    There(Arrival),
    Ready(Upload, T),
}

/// Opens the destination, and reads the source `beside` it or only once it is known that the blob must be sent.
async fn gather<T>(
    beside: bool,
    open: impl Future<Output = Result<Opening, Fault>>,
    read: impl Future<Output = Result<T, Fault>>,
) -> Result<Gathered<T>, Fault> {
    if beside {
        let (opening, content) = tokio::join!(open, read);
        match opening? {
            Opening::There(arrival) => Ok(Gathered::There(arrival)),
            Opening::Upload(upload) => Ok(Gathered::Ready(upload, content?)),
        }
    } else {
        match open.await? {
            Opening::There(arrival) => Ok(Gathered::There(arrival)),
            Opening::Upload(upload) => Ok(Gathered::Ready(upload, read.await?)),
        }
    }
}

/// Sends a blob from memory, in whichever way it is taken.
async fn send_tiny(
    key: &BlobKey,
    content: Bytes,
    destination: &RepositoryClient,
    mut upload: Upload,
) -> Result<(), Error> {
    for _ in 0..WAYS {
        match destination.finish_upload(upload, &key.digest, content.clone()).await {
            Err(error) if error.wants_other_portions() => upload = destination.start_upload().await?,
            result => return result,
        }
    }
    destination.finish_upload(upload, &key.digest, content).await
}

async fn send(
    key: &BlobKey,
    source: &RepositoryClient,
    reader: BlobReader,
    destination: &RepositoryClient,
    upload: Upload,
) -> Result<(), Fault> {
    let fault = SourceFault::default();
    let content = verified(source.clone(), reader, key.digest.clone(), key.size, fault.clone());
    destination
        .stream_upload(upload, &key.digest, key.size, content)
        .await
        .map_err(|error| fault.take().map_or_else(|| at_destination(error), at_source))
}

/// Whom it concerns that a blob could not be brought from `source`.
fn scope(fault: &Fault, source: &Repository) -> Scope {
    match fault.side {
        Side::Source => Scope::Source(source.clone()),
        Side::Destination => Scope::Destination,
    }
}

/// The pauses between the tries of one blob.
fn pauses() -> impl Iterator<Item = Duration> {
    backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(20))
        .with_max_times(TRIES)
        .with_jitter()
        .build()
}
