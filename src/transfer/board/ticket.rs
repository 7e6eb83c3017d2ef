//! What is given out to be done, and the place in a lane that goes with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::mounts::When;
use super::{BlobKey, Came};
use crate::event::Failure;
use crate::reference::{Reference, Repository};
use crate::registry::Upload;
use crate::transfer::lane::{LaneKind, Pair};

/// Something that may start now. The board waits until it is given back ([`super::Board::give_back`]).
#[derive(Debug)]
#[must_use]
pub struct Ticket {
    pub key: BlobKey,
    pub destination: Repository,
    pub work: Work,
    /// The destination of the image that needed it first: to it counts what is done, whatever becomes of the image.
    pub image: Arc<Reference>,
    /// How often it was postponed.
    pub postponements: u32,
    /// Whether it was known to be there until the registry denied it.
    pub was_denied: bool,
    pub place: Arc<Place>,
    pub(super) when: When,
}

#[derive(Debug)]
pub enum Work {
    /// Bring the blob from one of `sources`; an upload may be open already, from a mount that was not granted.
    Move { sources: Vec<Repository>, upload: Option<Upload> },
    /// Have the registry link it from another repository.
    Mount { from: Repository },
}

/// What came of a ticket.
#[derive(Debug)]
pub enum Back {
    /// The blob is in the ticket's repository.
    Landed(Came),
    /// The registry did not mount; it may have opened an upload in place. The blob is moved instead.
    MountRefused(Option<Upload>),
    /// It is not known whether the registry would mount. The blob is moved instead.
    NotMounted(Option<Upload>),
    /// The blob could not be brought there, for the reasons that were noted.
    Failed,
    /// A registry does not want to be asked for this long. The place goes to others until the need is resumed.
    Postponed(Duration),
    /// The task that held the ticket panicked or was cancelled, so that nobody knows what came of it.
    Aborted(Failure),
}

impl Ticket {
    /// The upload that is open already.
    pub fn take_upload(&mut self) -> Option<Upload> {
        match &mut self.work {
            Work::Move { upload, .. } => upload.take(),
            Work::Mount { .. } => None,
        }
    }
}

/// The place in a lane that a ticket has.
#[derive(Debug)]
pub struct Place {
    pub(super) kind: LaneKind,
    pub(super) pair: Pair,
    /// Of the pair's window, when it was taken.
    pub(super) generation: u64,
    /// Held while a blob is sent. The next blob in this place is opened at both ends meanwhile, and sent in its turn.
    pub sending: Arc<tokio::sync::Mutex<()>>,
    /// Whether another has it by now, or may. Changed under the board's lock alone.
    pub(super) is_given_away: AtomicBool,
}

impl Place {
    pub fn is_given_away(&self) -> bool {
        self.is_given_away.load(Relaxed)
    }
}
