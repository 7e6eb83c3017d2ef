//! From rules to tasks: tags are listed, images claimed for their destinations, clashes found.
//!
//! One task is one image. It asks source registries for tag lists and for nothing else.

mod list;
mod shard;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::{Images, Rule, Which};
use crate::digest::Digest;
use crate::event::{Category, Event, Failure, Listener};
use crate::reference::{Identifier, Reference, Registry, Repository, Tag};
use crate::registry::Clients;

use self::list::Listings;
pub use self::shard::{InvalidShard, Shard};

/// One image to be brought from its source to its destination. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Task {
    pub source: Reference,
    pub destination: Reference,
}

impl Task {
    /// What the image is called at its destination when it is `root` there: without a tag it has its digest for a name,
    /// whichever that has become.
    pub fn place(&self, root: &Digest) -> Identifier {
        match &self.destination.identifier {
            Identifier::Digest(_) => root.clone().into(),
            tag => tag.clone(),
        }
    }
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
    /// Which source has each contested destination, as long as more rules may come.
    claims: HashMap<Reference, Reference>,
    /// Rules that failed and will not be tried again, or not yet, by their place in `rules`.
    failures: BTreeMap<usize, Failure>,
    /// Those of them that were generated, but for destinations that an earlier rule has.
    clashing: HashSet<usize>,
    /// Images of later rules that wait for an earlier rule to be generated, since it may want their destinations.
    deferred: BTreeMap<usize, Vec<Task>>,
}

impl<'a> Planner<'a> {
    pub fn new(
        rules: &'a [Rule],
        shard: Option<Shard>,
        clients: Arc<Clients>,
        listener: Arc<dyn Listener>,
        cancel: CancellationToken,
    ) -> Self {
        let mut wanted = HashSet::new();
        let destinations = rules.iter().map(|rule| &rule.images.destination);
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
            matches!(rule.images.which, Which::Listed(_)) && self.is_own(*index) && !self.failures.contains_key(index)
        };
        self.rules.iter().enumerate().filter(whole).map(|(_, rule)| rule)
    }

    /// Of each registry to which images go, and of each that has to be asked what its tags name, the first repository.
    pub fn first_contacts(&self) -> [HashMap<&'a Registry, &'a Repository>; 2] {
        let own =
            || self.rules.iter().enumerate().filter(|(index, _)| self.is_own(*index)).map(|(_, rule)| &rule.images);
        let has_tags = |images: &&Images| match &images.which {
            Which::Listed(_) => true,
            Which::Fixed(pairs) => pairs.iter().any(|pair| pair.source.digest().is_none()),
        };
        // Of several the last one counts, which is the first in the file.
        let (to, from) = (own().rev().map(|to| &to.destination), own().rev().filter(has_tags).map(|from| &from.source));
        [to.map(|to| (to.registry(), to)).collect(), from.map(|from| (from.registry(), from)).collect()]
    }

    fn is_own(&self, index: usize) -> bool {
        self.own.as_ref().is_none_or(|own| own.contains(&self.rules[index].images.source))
    }

    /// The rules that have to be given again to have what was not generated, in the order of the file: those that were
    /// not, and the earlier ones with the same destination, which come first there.
    pub fn to_be_given_again(&self) -> Vec<&'a Rule> {
        let lost: Vec<usize> = self.failures.keys().copied().filter(|index| self.is_own(*index)).collect();
        // The last rule that was lost, by destination: what stands before it has precedence.
        let last: HashMap<_, _> = lost.iter().map(|&index| (&self.rules[index].images.destination, index)).collect();
        let matters = |(index, rule): &(usize, &'a Rule)| {
            last.get(&rule.images.destination).is_some_and(|last| index < last) || lost.binary_search(index).is_ok()
        };
        self.rules.iter().enumerate().filter(matters).map(|(_, rule)| rule).collect()
    }

    /// Whether another try may generate what failed, or what waits for it. What failed of another shard is that one's.
    pub fn has_retriable(&self) -> bool {
        self.retriable().next().is_some()
    }

    /// Whether another try may do better after some time.
    pub fn may_pass(&self) -> bool {
        self.retriable().any(|failure| failure.transient)
    }

    /// What another try may mend, of the rules of this shard and of those that they wait for.
    fn retriable(&self) -> impl Iterator<Item = &Failure> {
        let waiting = self.deferred.keys().filter(|index| self.is_own(**index));
        let awaited: HashSet<_> = waiting.map(|&index| &self.rules[index].images.destination).collect();
        let matters = move |index| self.is_own(index) || awaited.contains(&self.rules[index].images.destination);
        let matter = self.failures.iter().filter(move |(index, failure)| !failure.is_final && matters(**index));
        matter.map(|(_, failure)| failure)
    }

    /// The tasks of all rules, in their order. `last` if what fails will not be tried again.
    pub async fn generate(&mut self, last: bool) -> Vec<Task> {
        // Another shard's rule is no concern of this one where no second rule can clash with it.
        let matters = |&index: &usize| self.is_own(index) || self.is_contested(index);
        self.expand((0..self.rules.len()).filter(matters).collect(), last).await
    }

    /// Whether another rule has the same destination.
    fn is_contested(&self, index: usize) -> bool {
        self.contested.contains(&self.rules[index].images.destination)
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
        for index in indexes {
            let images = match self.deferred.remove(&index) {
                Some(images) => Ok(images),
                None => images(&self.rules[index], &listings),
            };
            let failure = match images {
                Ok(images) => match self.unlisted_before(index, &images, last) {
                    None => {
                        self.claim(index, images, &mut tasks);
                        continue;
                    }
                    Some((_, failure)) if !last && !failure.is_final => {
                        self.deferred.insert(index, images);
                        continue;
                    }
                    Some((earlier, failure)) => unknown(earlier, failure),
                },
                Err(failure) => failure,
            };
            if self.is_own(index) {
                let (rule, again) = (self.rules[index].to_string(), !last && !failure.is_final);
                self.listener.hear(&Event::RuleFailed { rule, failure: failure.clone(), again });
            }
            self.failures.insert(index, failure);
        }
        if last || self.failures.values().all(|failure| failure.is_final) {
            self.claims = HashMap::new();
        }
        tasks
    }

    /// An earlier rule that could not be listed and may want the destinations of these images: it keeps them if it is
    /// tried again. One that failed for good keeps nothing, which is said; unless it is another shard's, which may have
    /// listed it.
    fn unlisted_before(&self, index: usize, images: &[Task], last: bool) -> Option<(&'a Rule, &Failure)> {
        // All images of a rule go to one repository.
        let place = &images.iter().find(|task| !is_by_digest(&task.destination))?.destination.repository;
        if !self.contested.contains(place) {
            return None;
        }
        let meets = |earlier: usize| self.rules[earlier].images.destination == *place;
        let earlier = self.failures.range(..index).map(|(&earlier, failure)| (earlier, failure));
        let unlisted = earlier.filter(|(earlier, _)| meets(*earlier) && !self.clashing.contains(earlier));
        let keeps = |(earlier, failure): &(usize, &Failure)| !last && !failure.is_final || !self.is_own(*earlier);
        let (keeping, lost): (Vec<_>, Vec<_>) = unlisted.partition(keeps);
        if let (true, None, Some((earlier, _))) = (self.is_own(index), keeping.first(), lost.first()) {
            let (rule, earlier) = (&self.rules[index], &self.rules[*earlier]);
            tracing::warn!(
                "{rule}: its tags replace those that {:?}, which cannot be listed, may have there",
                earlier.source
            );
        }
        keeping.first().map(|(earlier, failure)| (&self.rules[*earlier], *failure))
    }

    /// Lists the tags of every repository that some rule wants listed.
    async fn list(&self, indexes: &[usize]) -> Listings {
        let wanted = indexes.iter().filter(|index| !self.deferred.contains_key(index)).map(|index| &self.rules[*index]);
        let listed = wanted.filter(|rule| matches!(rule.images.which, Which::Listed(_)));
        list::list(listed.map(|rule| &rule.images.source), &self.clients, &*self.listener, &self.cancel).await
    }

    /// Takes the destinations of a rule's images for it, as far as no other source has them.
    fn claim(&mut self, index: usize, images: Vec<Task>, tasks: &mut Vec<Task>) {
        let (is_own, is_contested) = (self.is_own(index), self.is_contested(index));
        // A list has each tag once.
        if !is_contested && matches!(self.rules[index].images.which, Which::Listed(_)) {
            match tasks.is_empty() {
                // The tags of one repository may be all there is: they are not held twice.
                true => *tasks = images,
                false => tasks.extend(images),
            }
            return;
        }
        let mut of_rule = HashMap::new();
        let claims = if is_contested { &mut self.claims } else { &mut of_rule };
        let mut clashes = Vec::new();
        for task in images {
            match claims.get(&task.destination) {
                None => {
                    claims.insert(task.destination.clone(), task.source.clone());
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
    let images = &rule.images;
    let Which::Listed(filter) = &images.which else {
        return Ok(images.fixed().map(|(source, destination)| Task { source, destination }).collect());
    };
    let tags = match listings.get(&images.source) {
        Some(Ok(tags)) => tags.as_slice(),
        Some(Err(failure)) => return Err(failure.clone()),
        None => &[],
    };
    let task = |tag: &Tag| Task {
        source: images.source.tagged(tag.clone()),
        destination: images.destination.tagged(tag.clone()),
    };
    let accepted: Vec<Task> = tags.iter().filter(|tag| filter.accepts(tag)).map(task).collect();
    if accepted.is_empty() {
        tracing::warn!(%rule, listed = tags.len(), "no tag fits this rule");
    }
    Ok(accepted)
}

/// Why a rule is not generated behind one of another shard that could not be listed: both would write the same tags.
fn unknown(earlier: &Rule, failure: &Failure) -> Failure {
    let source = &earlier.source;
    let reason =
        format!("which tags an earlier rule brings there is not known, since {source:?} cannot be listed: {failure}");
    Failure { reason: reason.into(), is_final: true, ..failure.clone() }
}

fn clash(clashes: &[String]) -> Failure {
    let reason =
        format!("a different image comes to {} already; give one of them another destination", clashes.join(", "));
    Failure::for_good(Category::Config, None, reason)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;
    use crate::config::{self, Files, Sources};
    use crate::registry::Keyring;

    /// Counts clashes.
    #[derive(Default)]
    struct Clashes(AtomicUsize);

    impl Listener for Clashes {
        fn hear(&self, event: &Event) {
            if let Event::Clash { .. } = event {
                self.0.fetch_add(1, Relaxed);
            }
        }
    }

    fn rules(json: &str) -> Vec<Rule> {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images.json");
        std::fs::write(&images, json).unwrap();
        let files = Files::Separate { auth: folder.path().join("none"), auth_required: false, images };
        let configuration =
            config::load(&Sources { files, registry: None, namespace: None, converts: false }, &|_| None).unwrap();
        assert!(configuration.invalid.is_empty());
        configuration.rules
    }

    /// The tasks of rules that need no registry, and what failed.
    async fn plan(json: &str) -> (Vec<String>, Vec<String>) {
        let (tasks, failures, _) = plan_shard(json, None).await;
        (tasks, failures)
    }

    /// And how many clashes were told.
    async fn plan_shard(json: &str, shard: Option<Shard>) -> (Vec<String>, Vec<String>, usize) {
        let rules = rules(json);
        let clients = Arc::new(Clients::new(Arc::new(Keyring::default()), 1).unwrap());
        let clashes = Arc::new(Clashes::default());
        let mut planner = Planner::new(&rules, shard, clients, clashes.clone(), CancellationToken::new());
        let tasks = planner.generate(true).await;
        assert!(planner.claims.is_empty(), "nothing comes after the last round");
        let tasks = tasks.iter().map(|task| format!("{} > {}", task.source, task.destination)).collect();
        let failures = planner.failures().map(|(_, failure)| failure.to_string()).collect();
        (tasks, failures, clashes.0.load(Relaxed))
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
        let (whole, failures, told) = plan_shard(json, None).await;
        assert_eq!(told, 1);
        for count in 1..=5 {
            let (mut tasks, mut clashes) = (Vec::new(), Vec::new());
            for index in 0..count {
                let part = plan_shard(json, format!("{index}/{count}").parse().ok()).await;
                let sources: HashSet<&str> = part.0.iter().map(|task| &task[..6]).collect();
                assert!(sources.len() <= 3_usize.div_ceil(count), "{sources:?}");
                tasks.extend(part.0);
                clashes.extend(part.1);
                assert_eq!(part.2, told, "{index}/{count}");
            }
            tasks.sort();
            let mut whole = whole.clone();
            whole.sort();
            assert_eq!((tasks, &clashes), (whole, &failures), "{count} shards");
        }
    }

    #[tokio::test]
    async fn a_rule_alone_at_its_destination_may_name_a_tag_twice_but_not_bring_two_images_to_one() {
        let (tasks, failures) = plan(r#"{"s.io/a:1,2,1": "d.io/a", "s.io/b:1,2": "d.io/b:x,x"}"#).await;
        assert_eq!(tasks, ["s.io/a:1 > d.io/a:1", "s.io/a:2 > d.io/a:2", "s.io/b:1 > d.io/b:x"]);
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert!(failures[0].contains("d.io/b:x (from s.io/b:1)"), "{}", failures[0]);
    }

    #[tokio::test]
    async fn destinations_are_held_only_where_rules_meet_and_while_more_may_come() {
        let rules =
            rules(r#"{"s.io/a:1,2": "d.io/a", "s.io/b:1": "d.io/x", "s.io/c": "d.io/x", "s.io/d:2": "d.io/x"}"#);
        let clients = Arc::new(Clients::new(Arc::new(Keyring::default()), 1).unwrap());
        let mut planner = Planner::new(&rules, None, clients, Arc::new(Clashes::default()), CancellationToken::new());
        let failure = Failure { is_final: false, ..Failure::internal("tag list") };
        let mut tasks = Vec::new();
        for index in [0, 1] {
            let images = images(&rules[index], &Listings::new()).unwrap();
            planner.claim(index, images, &mut tasks);
        }
        assert_eq!((tasks.len(), planner.claims.len()), (3, 1));
        // The third one could not be listed, so the fourth waits.
        planner.failures.insert(2, failure);
        let images = images(&rules[3], &Listings::new()).unwrap();
        assert!(planner.unlisted_before(3, &images, false).is_some());
        assert!(planner.unlisted_before(3, &images, true).is_none(), "nobody has what was not listed");
    }

    #[tokio::test]
    async fn what_is_put_by_digest_is_the_same_whatever_its_source() {
        let digest = crate::digest::Digest::of(b"");
        let (tasks, failures) = plan(&format!(r#"{{"s.io/a@{digest}": "d.io/x", "s.io/b@{digest}": "d.io/x"}}"#)).await;
        assert_eq!(tasks, [format!("s.io/a@{digest} > d.io/x@{digest}")]);
        assert_eq!(failures, [""; 0]);
    }
}
