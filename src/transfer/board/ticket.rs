//! What is given out to be done, and the place in a lane that goes with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::BlobKey;
use crate::reference::{Reference, Repository};
use crate::registry::Upload;
use crate::transfer::lane::{Kind, Pair};

/// Something that may start now. It must be given back by exactly one of `landed`, `mount_refused`, `failed`, `postponed`,
/// `aborted`.
#[derive(Debug)]
pub struct Ticket {
    pub key: BlobKey,
    pub destination: Repository,
    pub work: Work,
    /// The destination of the image that needed it first: to it counts what is done, whatever becomes of the image.
    pub image: Arc<Reference>,
    /// How often it was postponed.
    pub postponements: u32,
    pub place: Arc<Place>,
    /// Whether a mount is asked for before the other repository has a manifest that names the blob.
    pub(super) is_early: bool,
}

#[derive(Debug)]
pub enum Work {
    /// Bring the blob from one of `sources`; an upload may be open already, from a mount that was not granted.
    Move { sources: Vec<Repository>, upload: Option<Upload> },
    /// Have the registry link it from another repository.
    Mount { from: Repository },
}

/// The place in a lane that a ticket has.
#[derive(Debug)]
pub struct Place {
    pub(super) kind: Kind,
    pub(super) pair: Pair,
    /// Of the pair's window, when it was taken.
    pub(super) generation: u64,
    /// Held while a blob is sent: each who has the place in turn may read before the one before has got its answer.
    pub turn: Arc<tokio::sync::Mutex<()>>,
    /// Whether another has it by now, or may. Changed under the board's lock alone.
    pub(super) is_given_away: AtomicBool,
}

impl Place {
    pub fn is_given_away(&self) -> bool {
        self.is_given_away.load(Relaxed)
    }
}
