//! A gate that holds requests back until a test opens it.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::action::Action;

/// Holds requests until it is opened: `registry.on(Kind::BlobGet, gate.clone())`. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A gate that is closed.
    pub fn closed() -> Self {
        Gate(Arc::new(watch::Sender::new(false)))
    }

    /// Lets go of all that wait, and of all that come later.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Holds whatever comes from now on.
    pub fn close(&self) {
        self.0.send_replace(false);
    }

    pub(crate) async fn passed(&self) {
        // The sender lives in this gate, so the wait can end in one way only.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

impl From<Gate> for Action {
    fn from(gate: Gate) -> Self {
        Action::WaitFor(gate)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").field(&*self.0.borrow()).finish()
    }
}
