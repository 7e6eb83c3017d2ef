//! From rules to tasks: tags are listed, images claimed for their destinations, clashes found.
//!
//! One task is one image. It asks source registries for tag lists and for nothing else.

mod list;
mod shard;
mod task;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::config::{Images, Rule, Which};
use crate::event::{Category, Event, Failure, Listener, Retry};
use crate::reference::{Identifier, Reference, Registry, Repository, Tag};
use crate::registry::Clients;
use crate::schema::Shard;

use self::list::Listings;
use self::shard::own_repositories;
pub use self::task::{Task, Work};

/// Most clashes of a rule that its failure names. There may be as many as it has tags.
const NAMED: usize = 20;

/// Rules with one destination that could not be listed: the first of each kind.
#[derive(Default)]
struct Unlisted {
    /// It keeps its destinations: it is tried again, or it is another shard's, which may have listed it.
    keeping: Option<usize>,
    /// It keeps nothing, since it failed for good.
    lost: Option<usize>,
}

/// Turns rules into tasks, each image once and no destination tag twice, over all the rounds of a run.
pub struct Planner<'a> {
    rules: &'a [Rule],
    /// Where the images of each rule go, one repository under one name.
    places: Vec<Repository>,
    /// The source repositories whose images are wanted, if not all are.
    own: Option<HashSet<Repository>>,
    clients: Arc<Clients>,
    listener: Arc<dyn Listener>,
    /// Destinations of more than one rule.
    contested: HashSet<Repository>,
    /// The source that holds each contested destination. Empty once no more rules can come.
    claims: HashMap<Reference, Reference>,
    /// Rules that failed and will not be tried again, or not yet, by their place in `rules`.
    failures: BTreeMap<usize, Failure>,
    /// Those of them that were generated, but for destinations that an earlier rule has.
    clashing: HashSet<usize>,
    /// What other shards bring to contested destinations under tags that are made of digests.
    elsewhere: Vec<Task>,
    /// Images of later rules that wait for an earlier rule to be generated, since it may want their destinations.
    deferred: BTreeMap<usize, Vec<Task>>,
}

impl<'a> Planner<'a> {
    pub fn new(rules: &'a [Rule], shard: Option<Shard>, clients: Arc<Clients>, listener: Arc<dyn Listener>) -> Self {
        let mut wanted = HashSet::new();
        let places: Vec<_> = rules.iter().map(|rule| rule.images.destination.without_usual_port()).collect();
        Self {
            rules,
            contested: places.iter().filter(|place| !wanted.insert(*place)).cloned().collect(),
            places,
            own: shard.map(|shard| own_repositories(shard, rules)),
            clients,
            listener,
            claims: HashMap::new(),
            failures: BTreeMap::new(),
            clashing: HashSet::new(),
            elsewhere: Vec::new(),
            deferred: BTreeMap::new(),
        }
    }

    /// The rules that failed so far and why, in the order of the file. Another shard tells of its own.
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

    /// For each destination registry, and for each source registry that is asked what its tags name: its first repository
    /// in the file.
    pub fn first_contacts(&self) -> [HashMap<&'a Registry, &'a Repository>; 2] {
        let own = || self.own_images();
        let has_tags = |images: &&Images| match &images.which {
            Which::Listed(_) => true,
            Which::Fixed(pairs) => pairs.iter().any(|pair| pair.source.digest().is_none()),
        };
        // A map keeps the last of several: in reverse order that is the first in the file.
        let (to, from) = (own().rev().map(|to| &to.destination), own().rev().filter(has_tags).map(|from| &from.source));
        [to.map(|to| (to.registry(), to)).collect(), from.map(|from| (from.registry(), from)).collect()]
    }

    /// The registries that are asked for something as soon as the run begins: sources for their tags, or, where none has to
    /// list any, destinations for what they have.
    pub fn asked_at_once(&self) -> HashSet<&'a Registry> {
        let is_listed = |images: &&Images| matches!(images.which, Which::Listed(_));
        let listed: HashSet<_> = self.own_images().filter(is_listed).map(|images| images.source.registry()).collect();
        match listed.is_empty() {
            true => self.own_images().map(|images| images.destination.registry()).collect(),
            false => listed,
        }
    }

    fn own_images(&self) -> impl DoubleEndedIterator<Item = &'a Images> {
        self.rules.iter().enumerate().filter(|(index, _)| self.is_own(*index)).map(|(_, rule)| &rule.images)
    }

    fn is_own(&self, index: usize) -> bool {
        self.own.as_ref().is_none_or(|own| own.contains(&self.rules[index].images.source))
    }

    /// The rules that another run needs to bring what was not generated, in the order of the file: those that failed, and
    /// the earlier ones with the same destination, which take precedence there.
    pub fn to_be_given_again(&self) -> Vec<&'a Rule> {
        let lost: Vec<usize> = self.failures.keys().copied().filter(|index| self.is_own(*index)).collect();
        // By destination, the last rule that failed: the rules before it take precedence.
        let last: HashMap<_, _> = lost.iter().map(|&index| (&self.places[index], index)).collect();
        let matters = |(index, _): &(usize, &'a Rule)| {
            last.get(&self.places[*index]).is_some_and(|last| index < last) || lost.binary_search(index).is_ok()
        };
        self.rules.iter().enumerate().filter(matters).map(|(_, rule)| rule).collect()
    }

    /// Whether another try may generate what failed, or what waits for it. Another shard tries its own.
    pub fn has_retriable(&self) -> bool {
        self.retriable().next().is_some()
    }

    /// Whether another try may do better after some time.
    pub fn may_pass(&self) -> bool {
        self.retriable().any(|failure| failure.retry == Retry::AfterPause)
    }

    /// The failures that another try may mend: of this shard's rules, and of the rules that they wait for.
    fn retriable(&self) -> impl Iterator<Item = &Failure> {
        let waiting = self.deferred.keys().filter(|index| self.is_own(**index));
        let awaited: HashSet<_> = waiting.map(|&index| &self.places[index]).collect();
        let matters = move |index: usize| self.is_own(index) || awaited.contains(&self.places[index]);
        let matter =
            self.failures.iter().filter(move |(index, failure)| failure.retry != Retry::Never && matters(**index));
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
        self.contested.contains(&self.places[index])
    }

    /// The tasks of the rules that failed and may do better, and of those that waited for them.
    pub async fn generate_again(&mut self, last: bool) -> Vec<Task> {
        let failed: BTreeMap<_, _> = self.failures.extract_if(.., |_, it| it.retry != Retry::Never).collect();
        let mut again: Vec<usize> = failed.keys().chain(self.deferred.keys()).copied().collect();
        again.sort_unstable();
        again.dedup();
        let tasks = self.expand(again, last).await;
        // That the run was interrupted before it was known better does not hide why it failed.
        for (index, earlier) in failed {
            if let Some(failure) = self.failures.get_mut(&index).filter(|it| it.category == Category::Cancelled) {
                *failure = earlier;
            }
        }
        tasks
    }

    /// The tasks that were never generated, because the run ended before the rules they waited for.
    pub fn left_over(&mut self) -> Vec<Task> {
        let mut tasks = Vec::new();
        for (index, images) in std::mem::take(&mut self.deferred) {
            self.claim(index, images, &mut tasks);
        }
        tasks
    }

    /// The tags of signatures and of lists of referrers that other shards are known to bring where this one does, since
    /// this was last asked.
    pub fn take_elsewhere(&mut self) -> Vec<Task> {
        std::mem::take(&mut self.elsewhere)
    }

    async fn expand(&mut self, indexes: Vec<usize>, last: bool) -> Vec<Task> {
        let listings = self.list(&indexes).await;
        let mut tasks = Vec::new();
        let mut unlisted = HashMap::new();
        for (&index, failure) in self.failures.iter().filter(|(index, _)| !self.clashing.contains(index)) {
            self.note_unlisted(&mut unlisted, index, failure, last);
        }
        for index in indexes {
            let images = match self.deferred.remove(&index) {
                Some(images) => Ok(images),
                None => images(&self.rules[index], &listings),
            };
            let failure = match images {
                Ok(images) => match self.unlisted_before(index, &images, &unlisted) {
                    None => {
                        self.claim(index, images, &mut tasks);
                        continue;
                    }
                    Some((_, failure)) if failure.is_tried_again(last) => {
                        self.deferred.insert(index, images);
                        continue;
                    }
                    Some((earlier, failure)) => unknown(earlier, failure),
                },
                Err(failure) => failure,
            };
            if self.is_own(index) {
                let (rule, again) = (self.rules[index].to_string(), failure.is_tried_again(last));
                self.listener.hear(&Event::RuleFailed { rule, failure: failure.clone(), again });
            }
            self.note_unlisted(&mut unlisted, index, &failure, last);
            self.failures.insert(index, failure);
        }
        if last || self.failures.values().all(|failure| failure.retry == Retry::Never) {
            self.claims = HashMap::new();
        }
        tasks
    }

    /// Notes a rule that could not be listed and may want the destinations of later ones.
    fn note_unlisted(&self, unlisted: &mut HashMap<Repository, Unlisted>, index: usize, failure: &Failure, last: bool) {
        if !self.is_contested(index) {
            return;
        }
        let Unlisted { keeping, lost } = unlisted.entry(self.places[index].clone()).or_default();
        let keeps = failure.is_tried_again(last) || !self.is_own(index);
        let first = if keeps { keeping } else { lost };
        // After an interruption no later rule takes its tags, so there is nothing to warn of.
        if keeps || failure.category != Category::Cancelled {
            *first = Some(first.map_or(index, |first| first.min(index)));
        }
    }

    /// An earlier rule that keeps the destinations of these images. A rule that failed for good keeps nothing; a warning
    /// says so.
    fn unlisted_before(
        &self,
        index: usize,
        images: &[Task],
        unlisted: &HashMap<Repository, Unlisted>,
    ) -> Option<(&'a Rule, &Failure)> {
        if images.iter().all(|task| is_by_digest(&task.destination)) {
            return None;
        }
        let Unlisted { keeping, lost } = unlisted.get(&self.places[index])?;
        let [keeping, lost] = [keeping, lost].map(|first| first.filter(|first| *first < index));
        if let (true, None, Some(lost)) = (self.is_own(index), keeping, lost) {
            let (rule, earlier) = (&self.rules[index], &self.rules[lost].source);
            tracing::warn!(
                "{rule}: its tags count before those that {earlier:?}, which cannot be listed, may have there"
            );
        }
        keeping.and_then(|earlier| Some((&self.rules[earlier], self.failures.get(&earlier)?)))
    }

    /// Lists the tags of every repository that some rule wants listed.
    async fn list(&self, indexes: &[usize]) -> Listings {
        let wanted = indexes.iter().filter(|index| !self.deferred.contains_key(index)).map(|index| &self.rules[*index]);
        let listed = wanted.filter(|rule| matches!(rule.images.which, Which::Listed(_)));
        list::list(listed.map(|rule| &rule.images.source), &self.clients, &*self.listener).await
    }

    /// Takes the destinations of a rule's images for it, as far as no other source has them.
    fn claim(&mut self, index: usize, images: Vec<Task>, tasks: &mut Vec<Task>) {
        let (is_own, is_contested) = (self.is_own(index), self.is_contested(index));
        // A list has each tag once.
        if !is_contested && matches!(self.rules[index].images.which, Which::Listed(_)) {
            if tasks.is_empty() {
                // The tags of one repository may be all there is: they are not held twice.
                *tasks = images;
            } else {
                tasks.extend(images);
            }
            return;
        }
        let mut of_rule = HashMap::new();
        let claims = if is_contested { &mut self.claims } else { &mut of_rule };
        let (place, rule) = (&self.places[index], &self.rules[index].place);
        let (mut clashes, mut named) = (0, Vec::new());
        for task in images {
            let taken_by = match claims.entry(place.at(&task.destination.identifier)) {
                Entry::Vacant(free) => {
                    free.insert(task.source.clone());
                    if is_own {
                        tasks.push(task);
                    } else if task.destination.identifier.is_about_digest() {
                        self.elsewhere.push(task);
                    }
                    continue;
                }
                Entry::Occupied(taken) if is_same(taken.get(), &task.source) || is_by_digest(taken.key()) => continue,
                Entry::Occupied(taken) => taken.get().clone(),
            };
            clashes += 1;
            if clashes <= NAMED {
                named.push(format!("{} (from {taken_by})", task.destination));
            }
            let Task { source, destination } = task;
            self.listener.hear(&Event::Clash { rule: rule.to_string(), source, destination, taken_by });
        }
        if clashes > 0 {
            self.failures.insert(index, clash(&named, clashes));
            self.clashing.insert(index);
        }
    }
}

/// Whether both name the same image, of whatever spelling its registry is.
fn is_same(one: &Reference, other: &Reference) -> bool {
    let repository = |reference: &Reference| reference.repository.without_usual_port();
    one == other || one.identifier == other.identifier && repository(one) == repository(other)
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

/// Why a rule is not generated: an earlier one, of another shard, could not be listed and may write the same tags.
fn unknown(earlier: &Rule, failure: &Failure) -> Failure {
    let source = &earlier.source;
    let reason =
        format!("which tags an earlier rule brings there is not known, since {source:?} cannot be listed: {failure}");
    Failure { reason: reason.into(), retry: Retry::Never, ..failure.clone() }
}

fn clash(named: &[String], clashes: usize) -> Failure {
    let more = match clashes - named.len() {
        0 => String::new(),
        more => format!(", and {more} more, which the log names"),
    };
    let named = named.join(", ");
    let reason = format!("another image is brought to {named}{more}; give one of them another destination");
    Failure::for_good(Category::Config, None, reason)
}

#[cfg(test)]
mod tests;
