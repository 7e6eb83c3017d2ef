//! The tags of source repositories, as the registries list them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::event::{Event, Failure, Listener};
use crate::reference::{Registry, Repository, Tag};
use crate::registry::Clients;

/// Lists that are asked for at once. Each registry has a limit of its own.
const AT_ONCE: usize = 256;

/// The tags of each source repository that was asked for, or why there are none.
pub(super) type Listings = HashMap<Repository, Result<Vec<Tag>, Failure>>;

/// Lists the tags of these repositories, each once. Stops when the clients are to end.
pub(super) async fn list(
    sources: impl Iterator<Item = &Repository>,
    clients: &Arc<Clients>,
    listener: &dyn Listener,
) -> Listings {
    let (sources, cancel) = (in_turn(sources), clients.end());
    let mut open = sources.iter();
    let mut requests = JoinSet::new();
    let mut listings = Listings::new();
    loop {
        for source in open.by_ref().take(AT_ONCE - requests.len()) {
            let repository = clients.reader(source);
            requests.spawn(async move { (repository.repository().clone(), repository.tags().await) });
        }
        let Some(Some(result)) = cancel.run_until_cancelled(requests.join_next()).await else { break };
        let Ok((repository, result)) = result else { continue };
        if let Ok(tags) = &result {
            listener.hear(&Event::TagsListed { repository: repository.clone(), tags: tags.len() });
        }
        listings.insert(repository, result.map_err(Failure::from));
    }
    // What is missing was interrupted, or its task panicked.
    let lost = if cancel.is_cancelled() { Failure::cancelled() } else { Failure::internal("tag list") };
    for source in sources {
        listings.entry(source.clone()).or_insert_with(|| Err(lost.clone()));
    }
    listings
}

/// Each repository once, registries in turn: one that is slow leaves no other idle.
fn in_turn<'a>(sources: impl Iterator<Item = &'a Repository>) -> Vec<&'a Repository> {
    let mut seen = HashSet::new();
    let mut turns: HashMap<&Registry, usize> = HashMap::new();
    let mut distinct: Vec<_> = sources
        .filter(|source| seen.insert(*source))
        .map(|source| {
            let turn = turns.entry(source.registry()).or_default();
            *turn += 1;
            (*turn, source)
        })
        .collect();
    distinct.sort_by_key(|(turn, _)| *turn);
    distinct.into_iter().map(|(_, source)| source).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_listed_once_and_registries_in_turn() {
        let sources = ["a.io/1", "a.io/2", "a.io/1", "a.io/3", "b.io/1", "c.io/1", "b.io/2"];
        let sources = sources.map(|source| source.parse::<Repository>().unwrap());
        let order: Vec<String> = in_turn(sources.iter()).iter().map(ToString::to_string).collect();
        assert_eq!(order, ["a.io/1", "b.io/1", "c.io/1", "a.io/2", "b.io/2", "a.io/3"]);
    }
}
