//! One blob on its way: asked for at the destination, read at the source, sent, and tried again where that may help.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;

use super::Engine;
use super::board::{Back, BlobKey, Came, Concerns, Mounts, Ticket, Work};
use super::opening::{Opening, is_linked_by_name, may_be_granted_later};
use super::shown::Shown;
use super::stream::{LONGEST_PAUSE, Passed, SourceFault, verified};
use super::tries::{Fault, Next, Side, Tries, WAYS, at_destination, at_source};
use crate::event::{Event, Failure, Flight};
use crate::reference::{Reference, Repository};
use crate::registry::{BlobReader, Budget, Error, ErrorKind, RepositoryClient, Started, Upload};

/// How often it may be put off, since a registry wants to be left alone for longer.
const POSTPONEMENTS: u32 = 12;

impl Ticket {
    /// How long to leave the registry alone that says so, unless it has said so too often.
    fn postponed(&self, error: &Error) -> Option<Duration> {
        error.postponed().filter(|_| self.postponements < POSTPONEMENTS)
    }
}

impl Engine {
    /// Tells how a blob came; if it was linked, that was `from` there.
    fn tell_arrival(&self, ticket: &Ticket, came: Came, from: &Repository, elapsed: Duration) {
        let Ticket { key, destination: repository, image, .. } = ticket;
        if let (Came::Present, Some(destination)) = (came, self.destinations.get(repository)) {
            destination.note_blob_found();
        }
        let (repository, digest, bytes) = (repository.clone(), key.digest.clone(), key.size);
        let image = Reference::clone(image);
        self.tell(match came {
            Came::Moved => Event::BlobMoved { image, repository, digest, bytes, elapsed },
            Came::Mounted => Event::BlobMounted { image, repository, digest, bytes, from: from.clone() },
            Came::Present => Event::BlobPresent { repository, digest, bytes, again: ticket.was_denied },
        });
    }
}

/// Does what a ticket says, and answers what came of it. `upload` is one that is open already.
pub(super) async fn fly(engine: &Arc<Engine>, ticket: &Ticket, upload: Option<Upload>) -> Back {
    match &ticket.work {
        Work::Mount { from } => mount(engine, ticket, from).await,
        Work::Move { sources, .. } => {
            let (back, reasons) = bring_from_any(engine, ticket, sources, upload).await;
            engine.board.note(ticket, &reasons);
            back
        }
    }
}

/// Brings the blob from the first source that has it; and why others would not do.
async fn bring_from_any(
    engine: &Arc<Engine>,
    ticket: &Ticket,
    sources: &[Repository],
    mut upload: Option<Upload>,
) -> (Back, Vec<(Concerns, Failure)>) {
    let (mut reasons, mut postponed, mut shown) = (Vec::new(), None::<Duration>, None);
    for source in sources {
        let fault = match Moving::new(engine, ticket, source).bring(upload.take(), &mut shown).await {
            Ok(came) => {
                let elapsed = shown.take().map(|shown| shown.began.elapsed()).unwrap_or_default();
                engine.tell_arrival(ticket, came, source, elapsed);
                return (Back::Landed(came), reasons);
            }
            Err(fault) => fault,
        };
        match ticket.postponed(&fault.error) {
            Some(wait) => postponed = Some(postponed.map_or(wait, |other| other.min(wait))),
            None => reasons.push((concerns(&fault, source, &ticket.destination), fault.error.to_failure())),
        }
        if fault.side == Side::Destination {
            break;
        }
    }
    (postponed.map_or(Back::Failed, Back::Postponed), reasons)
}

/// A blob on its way from one source.
struct Moving<'a> {
    engine: &'a Arc<Engine>,
    ticket: &'a Ticket,
    source: RepositoryClient,
    destination: RepositoryClient,
    /// What all its tries share.
    budget: Budget,
}

impl<'a> Moving<'a> {
    fn new(engine: &'a Arc<Engine>, ticket: &'a Ticket, source: &Repository) -> Self {
        let budget = Budget::default();
        // What lasts longer than an upload may be silent gives the place back.
        let source = engine.clients.reader(source).within(&budget, LONGEST_PAUSE);
        let destination = engine.clients.writer(&ticket.destination).within(&budget, LONGEST_PAUSE);
        Self { engine, ticket, source, destination, budget }
    }

    /// Tries until the blob is there, or another try makes no sense.
    async fn bring(&self, mut upload: Option<Upload>, shown: &mut Option<Shown>) -> Result<Came, Fault> {
        let Self { engine, ticket, .. } = self;
        let key = &ticket.key;
        let mut tries = Tries::new(&self.budget);
        loop {
            let fault = match self.attempt(upload.take(), shown).await {
                Ok(came) => return Ok(came),
                Err(fault) => fault,
            };
            if engine.cancel.is_cancelled() {
                return Err(fault);
            }
            let pause = match tries.after(&fault) {
                Next::WhenServed => {
                    engine.board.overloaded(ticket);
                    continue;
                }
                Next::InAnotherWay => {
                    tracing::info!(digest = %key.digest, "{}; it is sent in another way", fault.error);
                    continue;
                }
                Next::After(pause) => Some(pause),
                Next::Never => None,
            };
            if fault.side == Side::Destination && matches!(fault.error.kind, ErrorKind::WrongSize { .. }) {
                // It has something else under this digest, and would say that the blob is there.
                engine.board.mounts(&key.registry, Mounts::were_wrong);
            }
            let Some(pause) = pause else { return Err(fault) };
            engine.tell(Event::BlobRetried {
                repository: ticket.destination.clone(),
                digest: key.digest.clone(),
                failure: fault.error.to_failure(),
                pause,
            });
            if engine.cancel.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Err(fault);
            }
        }
    }

    /// One try: is it there, or can it be linked; if not, read it and send it.
    async fn attempt(&self, upload: Option<Upload>, shown: &mut Option<Shown>) -> Result<Came, Fault> {
        let Self { engine, ticket, source, destination, budget } = self;
        let Ticket { key: key @ BlobKey { digest, size, .. }, place, .. } = ticket;
        if (source.holds_back(*size) || destination.holds_back(*size))
            && let Some(came) = self.wait_for_both(upload.is_some()).await?
        {
            return Ok(came);
        }
        let turn = match place.sending.try_lock() {
            Ok(turn) => Some(turn),
            // Another has the place, since all was sent before, in vain: nothing is read before it is done.
            Err(_) if place.is_given_away() => Some(place.sending.lock().await),
            // The one before awaits its answer: meanwhile both ends are opened.
            Err(_) => None,
        };
        if turn.is_some() {
            self.show(shown);
        }
        let open = async {
            match upload {
                Some(upload) => Ok(Opening::Upload(upload)),
                None => engine.open(key, source.repository(), destination).await.map_err(at_destination),
            }
        };
        // Where the destination has nothing and can link nothing, the source is opened beside the upload; else it may not
        // be needed.
        let own = destination.repository();
        let beside = engine.seems_empty(own) && !engine.may_mount(key, source.repository(), own);
        // An empty blob is no stream: nobody asks for a body without bytes, and so nobody would verify it.
        if *size == 0 || *size < engine.limits.streamed_from {
            let read = async { source.small_blob(digest, *size).await.map_err(at_source) };
            match gather(beside, open, read).await? {
                Gathered::There(came) => return Ok(came),
                Gathered::Ready(upload, content) => {
                    send_tiny(key, content, destination, upload).await.map_err(at_destination)?;
                }
            }
        } else {
            let read = async { source.read_blob(digest, *size, 0).await.map_err(at_source) };
            match gather(beside, open, read).await? {
                Gathered::There(came) => return Ok(came),
                Gathered::Ready(upload, reader) => {
                    let _turn = match turn {
                        Some(turn) => turn,
                        None => place.sending.lock().await,
                    };
                    let passed = self.show(shown);
                    let (engine, place) = (Arc::clone(engine), place.clone());
                    let sent = move || engine.hand_on(&place);
                    send(reader, budget, destination, upload, passed, sent).await?;
                }
            }
        }
        destination.check_replaced(digest, *size).await.map_err(at_destination)?;
        Ok(Came::Moved)
    }

    /// Waits until both want to be asked for what moves a blob, before anything is opened and read in vain; unless it need
    /// not be moved.
    async fn wait_for_both(&self, is_open: bool) -> Result<Option<Came>, Fault> {
        let Self { engine, ticket: Ticket { key, .. }, source, destination, .. } = self;
        if !is_open {
            if engine.may_mount(key, source.repository(), destination.repository()) {
                return Ok(None);
            }
            if engine.is_there(destination, key).await.map_err(at_destination)? {
                return Ok(Some(Came::Present));
            }
        }
        source.wait_to_move(key.size).await.map_err(at_source)?;
        destination.wait_to_move(key.size).await.map_err(at_destination)?;
        Ok(None)
    }

    /// Shows the blob as on its way, from when it has its place to itself.
    fn show(&self, shown: &mut Option<Shown>) -> Passed {
        let Self { engine, ticket, source, .. } = self;
        let flight = || Flight {
            number: engine.flights_started.fetch_add(1, Relaxed),
            source: source.repository().clone(),
            destination: Some(ticket.destination.clone()),
            digest: ticket.key.digest.clone(),
            bytes: ticket.key.size,
            passed: Passed::default(),
        };
        let start = || Shown::start(&engine.listener, flight());
        shown.get_or_insert_with(start).passed.clone()
    }
}

/// Has the registry link the blob from another of its repositories.
async fn mount(engine: &Arc<Engine>, ticket: &Ticket, from: &Repository) -> Back {
    let key = &ticket.key;
    if !is_linked_by_name(&key.digest) {
        return Back::NotMounted(None);
    }
    let destination = engine.clients.writer(&ticket.destination).within(&Budget::default(), LONGEST_PAUSE);
    let upload = match destination.mount(&key.digest, from).await {
        Ok(Started::Mounted) => {
            engine.tell_arrival(ticket, Came::Mounted, from, Duration::ZERO);
            return Back::Landed(Came::Mounted);
        }
        Ok(Started::Upload(upload)) => upload,
        Err(error) => {
            if let Some(wait) = ticket.postponed(&error) {
                return Back::Postponed(wait);
            }
            tracing::debug!(%error, "not mounted");
            return if may_be_granted_later(&error) { Back::NotMounted(None) } else { Back::MountRefused(None) };
        }
    };
    // That it did not mount says nothing of what was there before.
    match engine.is_there(&destination, key).await {
        Ok(true) => {
            engine.tell_arrival(ticket, Came::Present, from, Duration::ZERO);
            Back::Landed(Came::Present)
        }
        Ok(false) => Back::MountRefused(Some(upload)),
        Err(error) => {
            tracing::debug!(%error, "it is not known whether the blob is there");
            Back::NotMounted(Some(upload))
        }
    }
}

/// Both ends of a transfer.
enum Gathered<T> {
    There(Came),
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
            Opening::There(came) => Ok(Gathered::There(came)),
            Opening::Upload(upload) => Ok(Gathered::Ready(upload, content?)),
        }
    } else {
        match open.await? {
            Opening::There(came) => Ok(Gathered::There(came)),
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

/// Sends a blob as it is read; `sent` is called when its last byte is on its way.
async fn send(
    reader: BlobReader,
    budget: &Budget,
    destination: &RepositoryClient,
    upload: Upload,
    passed: Passed,
    sent: impl Fn() + Send + 'static,
) -> Result<(), Fault> {
    let (digest, size) = (reader.digest().clone(), reader.size());
    let fault = SourceFault::default();
    let mut left = size;
    let content = verified(reader, budget.clone(), fault.clone(), passed).inspect_ok(move |bytes| {
        left -= bytes.len() as u64;
        if left == 0 {
            sent();
        }
    });
    destination
        .stream_upload(upload, &digest, size, Box::pin(content))
        .await
        .map_err(|error| fault.take().map_or_else(|| at_destination(error), at_source))
}

/// Whom it concerns that a blob could not be brought from `source` to `destination`.
fn concerns(fault: &Fault, source: &Repository, destination: &Repository) -> Concerns {
    match fault.side {
        Side::Source => Concerns::Source(source.clone()),
        Side::Destination => Concerns::Destination(destination.clone()),
    }
}
