//! Which tasks become of rules, and which clash.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;
use crate::config::{self, AuthFile, Files, Sources};
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
    let files = Files::Separate { auth: AuthFile::None, images };
    let configuration =
        config::load(&Sources { files, registry: None, namespace: None, converts: false }, &|_| None).unwrap();
    assert!(configuration.invalid.is_empty());
    configuration.rules
}

fn planner(rules: &[Rule]) -> Planner<'_> {
    let clients = Arc::new(Clients::new(Arc::new(Keyring::default()), 1).unwrap());
    Planner::new(rules, None, clients, Arc::new(Clashes::default()))
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
    let mut planner = Planner::new(&rules, shard, clients, clashes.clone());
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
    let rules = rules(r#"{"s.io/a:1,2": "d.io/a", "s.io/b:1": "d.io/x", "s.io/c": "d.io/x", "s.io/d:2": "d.io/x"}"#);
    let mut planner = planner(&rules);
    let failure = Failure::internal("tag list");
    let mut tasks = Vec::new();
    for index in [0, 1] {
        let images = images(&rules[index], &Listings::new()).unwrap();
        planner.claim(index, images, &mut tasks);
    }
    assert_eq!((tasks.len(), planner.claims.len()), (3, 1));
    // The third one could not be listed, so the fourth waits.
    planner.failures.insert(2, failure.clone());
    let images = images(&rules[3], &Listings::new()).unwrap();
    let waits = |last| {
        let mut unlisted = HashMap::new();
        planner.note_unlisted(&mut unlisted, 2, &failure, last);
        planner.unlisted_before(3, &images, &unlisted).is_some()
    };
    assert!(waits(false));
    assert!(!waits(true), "nobody has what was not listed");
}

/// `planner` has two rules whose lists failed, on both sides of one whose images are these.
fn waits_between(planner: &Planner<'_>, order: [usize; 2]) -> bool {
    let images = images(&planner.rules[1], &Listings::new()).unwrap();
    let mut unlisted = HashMap::new();
    for index in order {
        planner.note_unlisted(&mut unlisted, index, &planner.failures[&index], false);
    }
    planner.unlisted_before(1, &images, &unlisted).is_some()
}

#[tokio::test]
async fn a_rule_waits_for_the_first_that_could_not_be_listed_and_comes_though_the_run_ends() {
    let rules = rules(r#"{"s.io/a": "d.io/x", "s.io/b:1": "d.io/x", "s.io/c": "d.io/x"}"#);
    let mut planner = planner(&rules);
    let why = Failure { retry: Retry::AtOnce, ..Failure::for_good(Category::NotFound, None, "there is no list") };
    planner.failures = BTreeMap::from([(0, why.clone()), (2, why.clone())]);
    assert!(waits_between(&planner, [0, 2]) && waits_between(&planner, [2, 0]));

    planner.deferred.insert(1, images(&rules[1], &Listings::new()).unwrap());
    let left_over = planner.left_over();
    assert_eq!(left_over.iter().map(|task| task.source.to_string()).collect::<Vec<_>>(), ["s.io/b:1"]);
    // That it was interrupted in another try does not hide why it failed.
    planner.clients.end().cancel();
    assert!(planner.generate_again(false).await.is_empty());
    assert!(planner.failures().all(|(_, failure)| failure.reason == why.reason));
    assert_eq!(planner.failures().count(), 2);
}

#[tokio::test]
async fn the_usual_port_makes_no_other_destination() {
    let (tasks, failures) =
        plan(r#"{"s.io/a:1": "d.io/x", "s.io/b:1": "d.io:443/x", "s.io/a:1": "d.io:443/x", "s.io/b:1": "d.io:444/x"}"#)
            .await;
    assert_eq!(tasks, ["s.io/a:1 > d.io/x:1", "s.io/b:1 > d.io:444/x:1"]);
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].contains("d.io:443/x:1 (from s.io/a:1)"), "{}", failures[0]);
}

/// Keeps the longest text that a clash was told with.
#[derive(Default)]
struct Longest(AtomicUsize);

impl Listener for Longest {
    fn hear(&self, event: &Event) {
        if let Event::Clash { rule, .. } = event {
            self.0.fetch_max(rule.len(), Relaxed);
        }
    }
}

#[tokio::test]
async fn what_is_told_of_a_clash_does_not_grow_with_the_tags_of_its_rule() {
    let tags: Vec<String> = (0..500).map(|tag| format!("t{tag}")).collect();
    let tags = tags.join(",");
    let rules = rules(&format!(r#"{{"s.io/a:{tags}": "d.io/x", "s.io/b:{tags}": "d.io/x"}}"#));
    let clients = Arc::new(Clients::new(Arc::new(Keyring::default()), 1).unwrap());
    let longest = Arc::new(Longest::default());
    let mut planner = Planner::new(&rules, None, clients, longest.clone());
    assert_eq!(planner.generate(true).await.len(), 500);
    assert!(longest.0.load(Relaxed) < 100);
    let failures: Vec<String> = planner.failures().map(|(_, failure)| failure.to_string()).collect();
    let [failure] = failures.as_slice() else { panic!("{failures:?}") };
    assert_eq!(failure.matches(" (from s.io/a:").count(), 20, "{failure}");
    assert!(failure.contains("d.io/x:t19 (from s.io/a:t19), and 480 more, which the log names; "), "{failure}");
}

#[tokio::test]
async fn what_is_put_by_digest_is_the_same_whatever_its_source() {
    let digest = crate::digest::Digest::of(b"");
    let (tasks, failures) = plan(&format!(r#"{{"s.io/a@{digest}": "d.io/x", "s.io/b@{digest}": "d.io/x"}}"#)).await;
    assert_eq!(tasks, [format!("s.io/a@{digest} > d.io/x@{digest}")]);
    assert_eq!(failures, [""; 0]);
}
