//! A whole run: tasks are generated and worked on, and what failed is tried again, in rounds.
//!
//! A migration, its dry run and a verification differ in what is done with a task, and in nothing else.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, InvalidReason, Rule, Shown};
use crate::event::{
    Category, Ending, Event, FailedImage, FailedRule, Failure, InvalidRule, Listener, Phase, Retry, RuleName, RuleText,
    WrittenRule,
};
use crate::plan::{Planner, Task, Work};
use crate::registry::Clients;
use crate::schema::Shard;

/// The pauses between rounds, where waiting may help.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a run needs, whatever it does with its tasks.
pub struct Rounds<'a> {
    pub rules: &'a [Rule],
    /// Those that cannot be used: they are counted and told at the end.
    pub invalid: Vec<InvalidRule>,
    /// This machine's part of the work; without one it is all of it.
    pub shard: Option<Shard>,
    pub clients: Arc<Clients>,
    /// Rounds in which what failed is run again.
    pub retries: u32,
    pub listener: Arc<dyn Listener>,
}

impl Rounds<'_> {
    /// Runs to the end, or until the clients are to end; what was not reached by then has failed.
    pub async fn run(self, work: &dyn Work) -> Ending {
        let Self { rules, invalid, shard, clients, retries, listener } = self;
        let cancel = clients.end();
        let tell = |phase| listener.hear(&Event::Phase(phase));
        let mut planner = Planner::new(rules, shard, clients.clone(), listener.clone());

        // All are met at once: destinations while sources list their tags, sources while destinations are asked what they have.
        let [destinations, sources] = planner.first_contacts();
        let asked_at_once = planner.asked_at_once();
        for (registry, repository) in
            destinations.into_iter().chain(sources.into_iter().filter(|_| work.asks_sources()))
        {
            let client = clients.reader(repository);
            let is_asked_at_once = asked_at_once.contains(registry);
            tokio::spawn(async move { client.meet(is_asked_at_once).await });
        }
        tell(Phase::Generate);
        let tasks = planner.generate(retries == 0).await;
        work.leave_to_others(&planner.take_elsewhere());
        let mut images = tasks.len();
        listener.hear(&Event::TasksGenerated(images));
        tell(Phase::Handle);
        let mut failed = run(work, tasks, Vec::new(), retries == 0).await;

        let mut pause = FIRST_PAUSE;
        for left in (0..retries).rev() {
            let (mut again, lost): (Vec<_>, Vec<_>) =
                failed.into_iter().partition(|(_, failure)| failure.retry != Retry::Never);
            failed = lost;
            if again.is_empty() && !planner.has_retriable() || cancel.is_cancelled() {
                failed.append(&mut again);
                break;
            }
            if again.iter().any(|(_, failure)| failure.retry == Retry::AfterPause) || planner.may_pass() {
                if cancel.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                    failed.append(&mut again);
                    break;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            clients.forget_unreachable();
            let (mut tasks, earlier): (Vec<Task>, Vec<Failure>) = again.into_iter().unzip();
            if planner.has_retriable() {
                tell(Phase::RetryGenerate);
                let new = planner.generate_again(left == 0).await;
                work.leave_to_others(&planner.take_elsewhere());
                images += new.len();
                listener.hear(&Event::TasksGenerated(new.len()));
                tasks.extend(new);
            }
            if !tasks.is_empty() {
                tell(Phase::RetryHandle);
                failed.extend(run(work, tasks, earlier, left == 0).await);
            }
        }
        let left_over = planner.left_over();
        images += left_over.len();
        let cancelled = Failure::cancelled();
        failed.extend(left_over.into_iter().map(|task| (task, cancelled.clone())));
        let failed_rules = planner.failures().map(|(rule, failure)| failed_rule(rule, failure.clone())).collect();
        let name = |rule: &Rule| RuleName { source: rule.source.clone(), destination: rule.full_destination() };
        let listed_rules = planner.listed().map(name).collect();
        let rules_again = planner.to_be_given_again().into_iter().map(name).collect();
        let failed_images = failed
            .into_iter()
            .map(|(Task { source, destination }, failure)| FailedImage { source, destination, failure })
            .collect();
        Ending { images, failed_images, failed_rules, invalid_rules: invalid, listed_rules, rules_again }
    }
}

/// Works on the tasks and gives those that failed. The first of them failed `earlier`, for these reasons.
async fn run(work: &dyn Work, tasks: Vec<Task>, earlier: Vec<Failure>, last: bool) -> Vec<(Task, Failure)> {
    let failed = work.run(&tasks, last).await;
    let known = |place: usize, failure: Failure| match earlier.get(place) {
        // That the run was interrupted before it was known better does not hide why it failed.
        Some(earlier) if failure.category == Category::Cancelled => earlier.clone(),
        _ => failure,
    };
    failed.into_iter().map(|(place, failure)| (tasks[place].clone(), known(place, failure))).collect()
}

fn failed_rule(rule: &Rule, failure: Failure) -> FailedRule {
    let text =
        RuleText { place: rule.place.to_string(), source: rule.source.clone(), destination: rule.destination.clone() };
    FailedRule { rule: text, full_destination: rule.full_destination(), failure }
}

/// A rule that cannot be used, as it is told.
pub fn invalid_rule(rule: &config::InvalidRule) -> InvalidRule {
    let Shown { source, destination, reason } = rule.shown();
    let destinations =
        if rule.reason == InvalidReason::NoDestinations { vec![] } else { vec![rule.destination.clone()] };
    InvalidRule {
        rule: RuleText { place: rule.place.to_string(), source, destination },
        reason,
        written: WrittenRule { source: rule.source.clone(), destinations },
    }
}
