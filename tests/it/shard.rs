//! Several machines, each with its part of the work.

use scriptable_registry::{Answer, Kind, Registry};

use crate::support::{Migration, RETRY_GENERATE, small, two_registries};

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

/// Every shard lists all repositories, to see the clashes.
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

#[tokio::test]
async fn a_shard_that_cannot_be_is_wrong_usage() {
    for wrong in ["3/3", "1", "a/b"] {
        Migration::new().args(["--shard", wrong]).run().await.assert_refused(&["INDEX/COUNT", wrong]);
    }
}
