//! Several machines, each with its part of the work.

use scriptable_registry::{Answer, Kind, Registry};

use crate::support::{GENERATE, HANDLE, Migration, RETRY_GENERATE, small, summary, two_registries};

const COUNT: usize = 3;

fn shard(source: &Registry, destination: &Registry, index: usize) -> Migration {
    let names = ["a", "b", "c", "d", "e"];
    let rules = names.iter().fold(Migration::new(), |migration, name| {
        migration
            .rule(format!("{}/{name}", source.host()), format!("{}/moved/{name}", destination.host()))
            .rule(format!("{}/{name}:1", source.host()), format!("{}/latest", destination.host()))
    });
    rules.rule("nonsense", "d.io/x").args(["--shard", &format!("{index}/{COUNT}")])
}

#[tokio::test]
async fn shards_together_do_everything_once() {
    let (source, destination) = two_registries().await;
    for (at, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        for tag in ["1", "2"] {
            source.put(name, tag, &small(at as u64 * 10 + tag.parse::<u64>().unwrap()));
        }
    }
    let mut summaries = Vec::new();
    for index in 0..COUNT {
        let outcome = shard(&source, &destination, index).run().await;
        assert_eq!(outcome.code, Some(i32::from(outcome.stderr.contains("FAILED") || index == 0)), "{outcome}");
        assert_eq!(outcome.lines("INVALID").len(), usize::from(index == 0), "{outcome}");
        summaries.push(outcome.stdout.lines().last().unwrap().to_owned());
    }
    // Five repositories of two tags, and the one image that all of them want at the same place.
    let total = |word: usize| -> usize {
        let numbers = |line: &str| -> Vec<usize> {
            line.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
        };
        summaries.iter().map(|line| numbers(line)[word]).sum()
    };
    assert_eq!((total(0), total(1), total(2)), (11, 0, 5), "four clashes and an invalid rule\n{summaries:#?}");
    assert_eq!(destination.count(Kind::ManifestPut), 11, "nothing twice");
    assert_eq!(destination.tags("latest"), ["1"]);
    for name in ["a", "b", "c", "d", "e"] {
        for tag in ["1", "2"] {
            assert_eq!(destination.digest(&format!("moved/{name}"), tag), source.digest(name, tag));
        }
    }
}

/// The one shard brings a signature with its whole repository, the other has one of the same image.
#[tokio::test]
async fn a_signature_that_another_shards_rule_brings_is_left_to_it() {
    let (source, destination) = two_registries().await;
    let subject = source.put("a", "1", &small(1));
    source.put("b", "1", &small(1));
    let signature = format!("{}.sig", subject.replace(':', "-"));
    let signed = source.put("a", &signature, &small(2));
    source.put("b", &signature, &small(3));
    for index in 0..2 {
        Migration::new()
            .rule(format!("{}/a", source.host()), format!("{}/x", destination.host()))
            .rule(source.reference("b", "1"), destination.reference("x", "of-b"))
            .args(["--referrers", "--shard", &format!("{index}/2")])
            .run()
            .await
            .assert_success(2 - index);
    }
    assert_eq!(destination.digest("x", &signature), Some(signed));
    assert_eq!(destination.requests_of(Kind::ManifestPut.of(&signature)).len(), 1);
}

#[tokio::test]
async fn a_retry_is_announced_by_the_shard_whose_rule_failed_alone() {
    let (source, destination) = two_registries().await;
    source.put("a", "1", &small(1));
    source.on(Kind::TagList.within("b"), Answer::status(404));
    let mut announced = 0;
    for index in 0..2 {
        let migration = ["a", "b"].iter().fold(Migration::with_default_retries(), |migration, name| {
            migration.rule(format!("{}/{name}", source.host()), format!("{}/{name}", destination.host()))
        });
        let outcome = migration.args(["--retries", "1", "--shard", &format!("{index}/2")]).run().await;
        let failed = outcome.stdout.ends_with(" 1 tasks generate failed\n");
        assert_eq!(outcome.stdout.contains(RETRY_GENERATE), failed, "{outcome}");
        announced += usize::from(failed);
    }
    assert_eq!(announced, 1);
}

/// All tags of `app` and `base`, which are one shard's each, to one repository.
fn two_rules_for_one_place(source: &Registry, destination: &Registry, migration: Migration) -> Migration {
    let host = source.host();
    let place = format!("{}/all", destination.host());
    migration.rule(format!("{host}/app"), &place).rule(format!("{host}/base"), &place)
}

#[tokio::test]
async fn what_an_earlier_rule_of_another_shard_may_have_is_not_overwritten() {
    let (source, destination) = two_registries().await;
    source.put("app", "1", &small(1));
    source.put("base", "1", &small(2));
    source.put("base", "2", &small(3));
    // One machine is told at once that it may not look, and the other sees it fail to the end.
    for (answer, retries) in [(Answer::status(401), "3"), (Answer::status(500), "0"), (Answer::status(404), "1")] {
        let first = two_rules_for_one_place(&source, &destination, Migration::new()).args(["--shard", "0/2"]);
        first.run().await.assert_success(1);
        destination.clear_log();
        source.on(Kind::TagList.within("app"), answer);
        let second = two_rules_for_one_place(&source, &destination, Migration::with_default_retries()).args([
            "--shard",
            "1/2",
            "--retries",
            retries,
            "--failed",
            "failed.json",
        ]);
        let outcome = second.run().await;
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert_eq!(outcome.stdout.lines().last(), Some(summary(0, 0, 1).as_str()), "{outcome}");
        outcome.assert_line("FAILED ", &["images.json:3:3", "earlier rule", "/app"]);
        assert_eq!(destination.count(Kind::ManifestPut), 0, "{outcome}");

        // Given again, both rules are there, and the earlier one has what is its own.
        source.clear_hooks();
        let failed = std::fs::read_to_string(second.path("failed.json")).unwrap();
        let outcome = Migration::new().images(&failed).args(["--shard", "1/2"]).run().await;
        outcome.assert_failures(1, 0, 1);
        assert_eq!(destination.digest("all", "1"), source.digest("app", "1"));
        assert_eq!(destination.digest("all", "2"), source.digest("base", "2"));
        for tag in ["1", "2"] {
            destination.remove_manifest("all", tag);
        }
    }
}

#[tokio::test]
async fn a_rule_waits_for_one_of_another_shard_that_may_want_the_same() {
    let (source, destination) = two_registries().await;
    source.put("app", "1", &small(1));
    source.put("base", "1", &small(2));
    source.put("base", "2", &small(3));
    source.on(Kind::TagList.within("app").once(), Answer::status(404));
    let migration = two_rules_for_one_place(&source, &destination, Migration::with_default_retries());
    let outcome = migration.args(["--shard", "1/2"]).run().await;
    assert!(outcome.stdout.contains(RETRY_GENERATE), "{outcome}");
    assert_eq!(outcome.stdout.lines().last(), Some(summary(1, 0, 1).as_str()), "{outcome}");
    assert_eq!(destination.tags("all"), ["2"]);
}

#[tokio::test]
async fn what_is_no_concern_of_a_shard_is_not_asked_for() {
    let (source, destination) = two_registries().await;
    let mut migration = Migration::with_default_retries().args(["--shard", "0/3"]);
    for name in ["a", "b", "c", "d", "e", "f"] {
        source.put(name, "1", &small(1));
        migration = migration.rule(format!("{}/{name}", source.host()), format!("{}/{name}", destination.host()));
    }
    // Two of other shards meet, which all see, and one of them fails, which is not this shard's to mend.
    for name in ["b", "c"] {
        migration = migration.rule(format!("{}/{name}", source.host()), format!("{}/both", destination.host()));
    }
    source.on(Kind::TagList.within("b"), Answer::status(404));
    let outcome = migration.run().await;
    outcome.assert(0, &[GENERATE, HANDLE, &summary(2, 0, 0)]);
    let mut listed: Vec<_> = source.requests_of(Kind::TagList).into_iter().filter_map(|it| it.repository).collect();
    listed.sort();
    assert_eq!(listed, ["a", "b", "c", "d"], "{outcome}");
}

#[tokio::test]
async fn a_shard_that_cannot_be_is_wrong_usage() {
    for wrong in ["3/3", "1", "a/b"] {
        Migration::new().args(["--shard", wrong]).run().await.assert_refused(&["INDEX/COUNT", wrong]);
    }
}
