//! What entries say of a host and not of an account: who signs its certificate, and which certificate is ours.

use std::path::Path;

use super::entry::{Entry, Given};
use super::problem::AuthProblem;
use crate::config::file;
use crate::config::place::{At, Place};
use crate::reference::Registry;
use crate::registry::tls::{self, Identity, PemDefect, Tls};

/// The settings of one host, from all its entries: whichever of them is used, the connection is the same.
#[derive(Default)]
pub(super) struct Host {
    pub insecure: Option<Given<bool>>,
    ca: Option<Given<String>>,
    cert: Option<Given<String>>,
    key: Option<Given<String>>,
}

impl Host {
    /// Takes what `entry` says too, unless it contradicts what another says.
    pub fn add(&mut self, entry: &Entry) -> Result<(), At<AuthProblem>> {
        let host = &entry.key.0;
        agree(host, "insecure", &entry.insecure, &mut self.insecure, bool::to_string)?;
        let quoted = |path: &String| format!("{path:?}");
        agree(host, "ca", &entry.ca, &mut self.ca, quoted)?;
        agree(host, "cert", &entry.cert, &mut self.cert, quoted)?;
        agree(host, "key", &entry.key_file, &mut self.key, quoted)
    }

    /// The certificates of `host`, if it has any of its own. Paths are relative to `folder`.
    pub fn tls(&self, host: &Registry, folder: &Path) -> Result<Option<Tls>, At<AuthProblem>> {
        let read = |field, given: &Given<String>| read(field, folder, given);
        let authorities = match &self.ca {
            Some(ca) => tls::authorities(&read("ca", ca)?).map_err(|defect| invalid("ca", ca, defect))?,
            None => Vec::new(),
        };
        let half =
            |place: &Place, has, lacks| place.clone().at(AuthProblem::HalfIdentity { host: host.clone(), has, lacks });
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                Some(Identity::new(&read("cert", cert)?, &read("key", key)?).map_err(|defect| match defect {
                    PemDefect::NoCertificate | PemDefect::InvalidCertificate(_) => invalid("cert", cert, defect),
                    _ => invalid("key", key, defect),
                })?)
            }
            (Some(cert), None) => return Err(half(&cert.place, "cert", "key")),
            (None, Some(key)) => return Err(half(&key.place, "key", "cert")),
            (None, None) => None,
        };
        let has_any = !authorities.is_empty() || identity.is_some();
        Ok(has_any.then_some(Tls { authorities, identity }))
    }
}

fn agree<T: Clone + PartialEq>(
    host: &Registry,
    field: &'static str,
    here: &Option<Given<T>>,
    first: &mut Option<Given<T>>,
    shown: impl Fn(&T) -> String,
) -> Result<(), At<AuthProblem>> {
    let Some(here) = here else { return Ok(()) };
    let first = first.get_or_insert_with(|| here.clone());
    if here.value == first.value {
        return Ok(());
    }
    Err(here.place.clone().at(AuthProblem::Contradiction {
        host: host.clone(),
        field,
        values: Box::new([shown(&here.value), shown(&first.value)]),
        first: first.place.clone(),
    }))
}

fn read(field: &'static str, folder: &Path, given: &Given<String>) -> Result<Vec<u8>, At<AuthProblem>> {
    file::read(&folder.join(&given.value), "paths are relative to this file")
        .map_err(|error| given.place.clone().at(AuthProblem::UnreadableFile { field, reason: error.to_string() }))
}

fn invalid(field: &'static str, given: &Given<String>, defect: PemDefect) -> At<AuthProblem> {
    given.place.clone().at(AuthProblem::InvalidPem { field, file: given.value.clone(), defect })
}
