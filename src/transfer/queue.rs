//! The order in which images are admitted: pairs of registries in turn, and within a pair one destination repository
//! after the other, so that little is in memory at a time and images with common layers run near each other.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::lane::Pair;
use crate::plan::Task;
use crate::reference::{Reference, Repository};

pub(super) struct Queue<'a> {
    tasks: &'a [Task],
    pairs: BTreeMap<Pair, Images>,
    /// Images that have not ended, by destination repository.
    unfinished: HashMap<&'a Repository, usize>,
}

#[derive(Default)]
struct Images {
    waiting: VecDeque<usize>,
    in_progress: usize,
}

impl<'a> Queue<'a> {
    pub fn new(tasks: &'a [Task]) -> Self {
        let mut order: Vec<usize> = (0..tasks.len()).collect();
        // Stable: within a repository the plan's order stays; but what is about other images comes after them, since some
        // registries take no list of referrers, nor a referrer, before its subject.
        order.sort_by_key(|&job| {
            let Reference { repository, identifier } = &tasks[job].destination;
            (repository, identifier.is_about_digest())
        });
        let mut queue = Self { tasks, pairs: BTreeMap::new(), unfinished: HashMap::new() };
        for job in order {
            queue.pairs.entry(pair(&tasks[job])).or_default().waiting.push_back(job);
            *queue.unfinished.entry(&tasks[job].destination.repository).or_default() += 1;
        }
        queue
    }

    /// The next image: of the pair that has the fewest in progress, so that a slow registry does not hold up a fast one.
    pub fn next(&mut self) -> Option<usize> {
        let with_work = self.pairs.values_mut().filter(|images| !images.waiting.is_empty());
        let images = with_work.min_by_key(|images| images.in_progress)?;
        images.in_progress += 1;
        images.waiting.pop_front()
    }

    /// How many images of this repository have not ended.
    pub fn unfinished(&self, repository: &Repository) -> usize {
        self.unfinished.get(repository).copied().unwrap_or_default()
    }

    /// Notes the end of an image. Answers its destination repository if that has no more work.
    pub fn ended(&mut self, job: usize) -> Option<&'a Repository> {
        if let Some(images) = self.pairs.get_mut(&pair(&self.tasks[job])) {
            images.in_progress -= 1;
        }
        let repository = &self.tasks[job].destination.repository;
        let left = self.unfinished.get_mut(repository)?;
        *left -= 1;
        (*left == 0).then_some(repository)
    }
}

fn pair(task: &Task) -> Pair {
    let registry = |repository: &Repository| repository.registry().clone();
    Pair { source: registry(&task.source.repository), destination: registry(&task.destination.repository) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(source: &str, destination: &str) -> Task {
        tagged(source, destination, "1")
    }

    fn tagged(source: &str, destination: &str, tag: &str) -> Task {
        let tagged = |text: &str| text.parse::<Repository>().unwrap().tagged(tag.parse().unwrap());
        Task { source: tagged(source), destination: tagged(destination) }
    }

    #[test]
    fn what_is_about_an_image_comes_after_it() {
        let list = format!("sha256-{}", "0".repeat(64));
        let tasks = [&list, "sha", "1"].map(|tag| tagged("s.io/a", "d.io/x", tag));
        let mut queue = Queue::new(&tasks);
        assert_eq!(std::iter::from_fn(|| queue.next()).collect::<Vec<_>>(), [1, 2, 0]);
    }

    #[test]
    fn repositories_come_one_after_the_other_and_are_closed_with_their_last_image() {
        let tasks = [task("s.io/a", "d.io/x"), task("s.io/b", "d.io/y"), task("s.io/c", "d.io/x")];
        let mut queue = Queue::new(&tasks);
        let order: Vec<usize> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(order, [0, 2, 1]);
        assert_eq!(queue.ended(0), None);
        assert_eq!(queue.ended(1).map(Repository::path), Some("y"));
        assert_eq!(queue.ended(2).map(Repository::path), Some("x"));
    }

    #[test]
    fn a_slow_pair_leaves_room_for_another() {
        let tasks: Vec<_> =
            (0..8).map(|i| task(if i < 6 { "slow.io/a" } else { "fast.io/a" }, &format!("d.io/r{i}"))).collect();
        let mut queue = Queue::new(&tasks);
        let first: Vec<usize> = std::iter::from_fn(|| queue.next()).take(4).collect();
        assert_eq!(first.iter().filter(|&&job| job >= 6).count(), 2);
    }

    #[test]
    fn an_image_that_ended_leaves_room_for_its_pair() {
        let tasks: Vec<_> =
            (0..8).map(|i| task(if i % 2 == 0 { "a.io/a" } else { "b.io/a" }, &format!("d.io/r{}", i % 2))).collect();
        let mut queue = Queue::new(&tasks);
        let destination = &tasks[1].destination.repository;
        let first: Vec<usize> = std::iter::from_fn(|| queue.next()).take(4).collect();
        assert_eq!(queue.unfinished(destination), 4);
        for job in first.into_iter().filter(|job| job % 2 == 1) {
            assert_eq!(queue.ended(job), None);
        }
        assert_eq!(queue.unfinished(destination), 2);
        assert_eq!([queue.next(), queue.next()].map(|job| job.map(|job| job % 2)), [Some(1); 2]);
    }
}
