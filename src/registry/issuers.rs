//! The servers that give tokens. Each is asked as one citizen, for whichever registry and by whichever task: where it says
//! that it is asked too much, all who need a token of it wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use reqwest::Method;
use url::Url;

use super::exchange::Kind;
use super::pace::{Pace, Turn};
use crate::reference::Registry;
use crate::shared::lock;

/// All that is asked of such a server.
pub(super) const TOKENS: Turn = (Kind::Token, Method::GET);

/// Those of a run, by host and port.
pub(super) struct Issuers {
    /// Requests in flight at once at one of them.
    requests: usize,
    known: Mutex<HashMap<String, Arc<Pace>>>,
}

impl Issuers {
    pub fn new(requests: usize) -> Self {
        Self { requests, known: Mutex::default() }
    }

    /// How fast the server at `url` may be asked, which gives tokens for `registry`.
    pub fn of(&self, url: &Url, registry: &Registry) -> Arc<Pace> {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", url.host_str().unwrap_or_default());
        // In the log it has the name of its host, or of whom it serves.
        let name = host.parse().unwrap_or_else(|_| registry.clone());
        lock(&self.known).entry(host).or_insert_with(|| Arc::new(Pace::new(&name, self.requests))).clone()
    }
}
