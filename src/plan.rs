//! From rules to tasks: tags are listed, images claimed for their destinations, clashes found.
//!
//! One task is one image. It asks source registries for tag lists and for nothing else.

mod shard;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Images, Pair, Rule};
use crate::event::{Category, Event, Failure, Listener};
use crate::reference::{Identifier, Reference, Repository, Tag};
use crate::registry::Clients;

pub use shard::{InvalidShard, Shard};

/// One image to be brought from its source to its destination. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub source: Reference,
    pub destination: Reference,
}

/// Turns rules into tasks, each image once and no destination tag twice, over all the rounds of a run.
pub struct Planner<'a> {
    rules: &'a [Rule],
    /// The source repositories whose images are wanted, if not all are.
    own: Option<HashSet<Repository>>,
    clients: Arc<Clients>,
    listener: Arc<dyn Listener>,
    cancel: CancellationToken,
    /// Destinations of more than one rule.
    contested: HashSet<&'a Repository>,
    /// Which source has each destination. What is listed for a repository that only one rule wants is not in it: a list
    /// has each tag once.
    claims: HashMap<Reference, Reference>,
    /// Rules that failed and will not be tried again, or not yet, by their place in `rules`.
    failures: BTreeMap<usize, Failure>,
    /// Those of them that were generated, but for destinations that an earlier rule has.
    clashing: HashSet<usize>,
    /// Images of later rules that wait for an earlier rule to be generated, since it may want their destinations.
    deferred: BTreeMap<usize, Vec<Task>>,
}

/// The tags of each source repository that was asked for, or why there are none.
type Listings = HashMap<Repository, Result<Vec<Tag>, Failure>>;

impl<'a> Planner<'a> {
    pub fn new(
        rules: &'a [Rule],
        shard: Option<Shard>,
        clients: Arc<Clients>,
        listener: Arc<dyn Listener>,
        cancel: CancellationToken,
    ) -> Self {
        let mut wanted = HashSet::new();
        let destinations = rules.iter().filter_map(|rule| rule.images.destination());
        Self {
            rules,
            contested: destinations.filter(|destination| !wanted.insert(*destination)).collect(),
            own: shard.map(|shard| shard.repositories(rules)),
            clients,
            listener,
            cancel,
            claims: HashMap::new(),
            failures: BTreeMap::new(),
            clashing: HashSet::new(),
            deferred: BTreeMap::new(),
        }
    }

    /// The rules that failed so far and why, in the order of the file. Those of another shard are that one's to tell.
    pub fn failures(&self) -> impl Iterator<Item = (&'a Rule, &Failure)> {
        let own = self.failures.iter().filter(|(index, _)| self.is_own(**index));
        own.map(|(&index, failure)| (&self.rules[index], failure))
    }

    /// The rules whose tags were listed and of which all tasks were generated, in the order of the file.
    pub fn listed(&self) -> impl Iterator<Item = &'a Rule> {
        let whole = |(index, rule): &(usize, &Rule)| {
            matches!(rule.images, Images::Listed { .. }) && self.is_own(*index) && !self.failures.contains_key(index)
        };
        self.rules.iter().enumerate().filter(whole).map(|(_, rule)| rule)
    }

    fn is_own(&self, index: usize) -> bool {
        let source = self.rules[index].images.source();
        self.own.as_ref().is_none_or(|own| source.is_some_and(|source| own.contains(source)))
    }

    /// The rules that have to be given again to have what was not generated, in the order of the file: those that were
    /// not, and the earlier ones with the same destination, which come first there.
    pub fn to_be_given_again(&self) -> Vec<&'a Rule> {
        let is_lost = |index: &usize| !self.clashing.contains(index) && self.is_own(*index);
        let lost: Vec<usize> = self.failures.keys().copied().filter(is_lost).collect();
        // The last rule that was lost, by destination: what stands before it has precedence.
        let last: HashMap<_, _> = lost.iter().map(|&index| (self.rules[index].images.destination(), index)).collect();
        let matters = |(index, rule): &(usize, &'a Rule)| {
            last.get(&rule.images.destination()).is_some_and(|last| index < last) || lost.binary_search(index).is_ok()
        };
        self.rules.iter().enumerate().filter(matters).map(|(_, rule)| rule).collect()
    }

    /// Whether another try may generate what failed, or what waits for it. What failed of another shard is that one's.
    pub fn has_retriable(&self) -> bool {
        self.failures().any(|(_, failure)| !failure.is_final) || self.deferred.keys().any(|&index| self.is_own(index))
    }

    /// Whether another try may do better after some time.
    pub fn may_pass(&self) -> bool {
        self.has_retriable() && self.failures.values().any(|failure| !failure.is_final && failure.transient)
    }

    /// The tasks of all rules, in their order. `last` if what fails will not be tried again.
    pub async fn generate(&mut self, last: bool) -> Vec<Task> {
        self.expand((0..self.rules.len()).collect(), last).await
    }

    /// The tasks of the rules that failed and may do better, and of those that waited for them.
    pub async fn generate_again(&mut self, last: bool) -> Vec<Task> {
        let failed = self.failures.extract_if(.., |_, failure| !failure.is_final).map(|(index, _)| index);
        let mut again: Vec<usize> = failed.chain(self.deferred.keys().copied()).collect();
        again.sort_unstable();
        again.dedup();
        self.expand(again, last).await
    }

    /// The tasks that were never generated, because the run ended before the rules they waited for.
    pub fn left_over(&mut self) -> Vec<Task> {
        let mut tasks = Vec::new();
        for (index, images) in std::mem::take(&mut self.deferred) {
            self.claim(index, images, &mut tasks);
        }
        tasks
    }

    async fn expand(&mut self, indexes: Vec<usize>, last: bool) -> Vec<Task> {
        let listings = self.list(&indexes).await;
        let mut tasks = Vec::new();
        // Where a rule that is tried again may still want to put something: the earlier rule keeps a destination.
        let mut reserved = HashSet::new();
        for index in indexes {
            let rule = &self.rules[index];
            let images = match self.deferred.remove(&index) {
                Some(images) => Ok(images),
                None => images(rule, &listings),
            };
            match images {
                // All images of a rule go to one repository.
                Ok(images) if images.first().is_some_and(|task| reserved.contains(&task.destination.repository)) => {
                    self.deferred.insert(index, images);
                }
                Ok(images) => self.claim(index, images, &mut tasks),
                Err(failure) => {
                    let again = !last && !failure.is_final;
                    if let (true, Images::Listed { destination, .. }) = (again, &rule.images) {
                        reserved.insert(destination.clone());
                    }
                    if self.is_own(index) {
                        let rule = rule.to_string();
                        self.listener.hear(&Event::RuleFailed { rule, failure: failure.clone(), again });
                    }
                    self.failures.insert(index, failure);
                }
            }
        }
        tasks
    }

    /// Lists the tags of every repository that some rule wants listed, each once. Stops where the run is interrupted.
    async fn list(&self, indexes: &[usize]) -> Listings {
        let mut asked = HashSet::new();
        let mut requests = JoinSet::new();
        for index in indexes {
            let Images::Listed { source, .. } = &self.rules[*index].images else { continue };
            if self.deferred.contains_key(index) {
                continue;
            }
            if asked.insert(source) {
                let repository = self.clients.reader(source);
                requests.spawn(async move { (repository.repository().clone(), repository.tags().await) });
            }
        }
        let mut listings = Listings::new();
        while let Some(Some(result)) = self.cancel.run_until_cancelled(requests.join_next()).await {
            let Ok((repository, result)) = result else { continue };
            if let Ok(tags) = &result {
                self.listener.hear(&Event::TagsListed { repository: repository.clone(), tags: tags.len() });
            }
            listings.insert(repository, result.map_err(|error| error.to_failure()));
        }
        // What is missing was interrupted, or its task panicked.
        let lost = if self.cancel.is_cancelled() { Failure::cancelled() } else { Failure::internal("tag list") };
        for source in asked {
            listings.entry(source.clone()).or_insert_with(|| Err(lost.clone()));
        }
        listings
    }

    /// Takes the destinations of a rule's images for it, as far as no other source has them.
    fn claim(&mut self, index: usize, images: Vec<Task>, tasks: &mut Vec<Task>) {
        let is_own = self.is_own(index);
        if let Images::Listed { destination, .. } = &self.rules[index].images
            && !self.contested.contains(destination)
        {
            match is_own {
                // The tags of one repository may be all there is: they are not held twice.
                true if tasks.is_empty() => *tasks = images,
                true => tasks.extend(images),
                false => {}
            }
            return;
        }
        let mut clashes = Vec::new();
        for task in images {
            match self.claims.get(&task.destination) {
                None => {
                    self.claims.insert(task.destination.clone(), task.source.clone());
                    if is_own {
                        tasks.push(task);
                    }
                }
                Some(source) if *source == task.source || is_by_digest(&task.destination) => {}
                Some(taken_by) => {
                    self.listener.hear(&Event::Clash {
                        rule: self.rules[index].to_string(),
                        source: task.source,
                        destination: task.destination.clone(),
                        taken_by: taken_by.clone(),
                    });
                    clashes.push(format!("{} (from {taken_by})", task.destination));
                }
            }
        }
        if !clashes.is_empty() {
            self.failures.insert(index, clash(&clashes));
            self.clashing.insert(index);
        }
    }
}

/// Whatever the source, content with this digest is the same.
fn is_by_digest(destination: &Reference) -> bool {
    matches!(destination.identifier, Identifier::Digest(_))
}

/// The images of a rule, by its own words and the tags that were listed.
fn images(rule: &Rule, listings: &Listings) -> Result<Vec<Task>, Failure> {
    let task = |pair: Pair| Task { source: pair.source, destination: pair.destination };
    let source = match &rule.images {
        Images::Listed { source, .. } => source,
        Images::Fixed(pairs) => return Ok(pairs.iter().cloned().map(task).collect()),
    };
    let tags = match listings.get(source) {
        Some(Ok(tags)) => tags.as_slice(),
        Some(Err(failure)) => return Err(failure.clone()),
        None => &[],
    };
    let accepted: Vec<Task> = tags.iter().filter_map(|tag| rule.images.listed(tag)).map(task).collect();
    if accepted.is_empty() {
        tracing::warn!(%rule, listed = tags.len(), "no tag fits this rule");
    }
    Ok(accepted)
}

fn clash(clashes: &[String]) -> Failure {
    Failure {
        category: Category::Config,
        registry: None,
        reason: format!(
            "another rule brings a different image to {}; give one of them another destination",
            clashes.join(", ")
        )
        .into(),
        transient: false,
        is_final: true,
        remedy: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Files, Sources};
    use crate::registry::Keyring;

    struct Deaf;

    impl Listener for Deaf {
        fn hear(&self, _: &Event) {}
    }

    fn rules(json: &str) -> Vec<Rule> {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images.json");
        std::fs::write(&images, json).unwrap();
        let files = Files::Separate { auth: folder.path().join("none"), auth_required: false, images };
        let configuration = config::load(&Sources { files, registry: None, namespace: None }, &|_| None).unwrap();
        assert!(configuration.invalid.is_empty());
        configuration.rules
    }

    /// The tasks of rules that need no registry, and what failed.
    async fn plan(json: &str) -> (Vec<String>, Vec<String>) {
        plan_shard(json, None).await
    }

    async fn plan_shard(json: &str, shard: Option<Shard>) -> (Vec<String>, Vec<String>) {
        let rules = rules(json);
        let clients = Arc::new(Clients::new(Arc::new(Keyring::default()), 1).unwrap());
        let mut planner = Planner::new(&rules, shard, clients, Arc::new(Deaf), CancellationToken::new());
        let tasks = planner.generate(true).await;
        let tasks = tasks.iter().map(|task| format!("{} > {}", task.source, task.destination)).collect();
        (tasks, planner.failures().map(|(_, failure)| failure.to_string()).collect())
    }

    #[tokio::test]
    async fn identical_tasks_are_run_once() {
        let (tasks, failures) =
            plan(r#"{"s.io/a:1,2,1": "d.io/a", "s.io/a:2": ["d.io/a", "d.io/b"], "s.io/a:1": "d.io/a:1"}"#).await;
        assert_eq!(tasks, ["s.io/a:1 > d.io/a:1", "s.io/a:2 > d.io/a:2", "s.io/a:2 > d.io/b:2"]);
        assert_eq!(failures, [""; 0]);
    }

    #[tokio::test]
    async fn the_earlier_rule_keeps_a_destination_and_the_later_keeps_its_other_tags() {
        let (tasks, failures) = plan(r#"{"s.io/a:1,2": "d.io/x", "s.io/b:2,3,1": "d.io/x"}"#).await;
        assert_eq!(tasks, ["s.io/a:1 > d.io/x:1", "s.io/a:2 > d.io/x:2", "s.io/b:3 > d.io/x:3"]);
        assert_eq!(failures.len(), 1, "a rule is counted once");
        assert!(failures[0].contains("d.io/x:2 (from s.io/a:2), d.io/x:1 (from s.io/a:1)"), "{}", failures[0]);
    }

    #[tokio::test]
    async fn shards_do_everything_once_and_all_see_a_clash() {
        let json =
            r#"{"s.io/c:1,2": "d.io/x", "s.io/a:1": "d.io/x", "s.io/b:1": ["d.io/y", "d.io/z"], "s.io/c:3": "d.io/x"}"#;
        let (whole, failures) = plan(json).await;
        for count in 1..=5 {
            let (mut tasks, mut clashes) = (Vec::new(), Vec::new());
            for index in 0..count {
                let part = plan_shard(json, format!("{index}/{count}").parse().ok()).await;
                let sources: HashSet<&str> = part.0.iter().map(|task| &task[..6]).collect();
                assert!(sources.len() <= 3_usize.div_ceil(count), "{sources:?}");
                tasks.extend(part.0);
                clashes.extend(part.1);
            }
            tasks.sort();
            let mut whole = whole.clone();
            whole.sort();
            assert_eq!((tasks, &clashes), (whole, &failures), "{count} shards");
        }
    }

    #[tokio::test]
    async fn what_is_put_by_digest_is_the_same_whatever_its_source() {
        let digest = crate::digest::Digest::of(b"");
        let (tasks, failures) = plan(&format!(r#"{{"s.io/a@{digest}": "d.io/x", "s.io/b@{digest}": "d.io/x"}}"#)).await;
        assert_eq!(tasks, [format!("s.io/a@{digest} > d.io/x@{digest}")]);
        assert_eq!(failures, [""; 0]);
    }
}
