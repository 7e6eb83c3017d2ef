//! The board alone, case by case.

mod postponed;
mod remembered;
mod worlds;

use std::time::Duration;

use super::mounts::REFUSALS;
use super::*;

const SIZE: u64 = 1 << 20;

fn repository(name: &str) -> Repository {
    format!("{name}.example.com/app").parse().unwrap()
}

fn at(registry: &str, path: usize) -> Repository {
    format!("{registry}.example.com/r{path}").parse().unwrap()
}

fn job(place: usize) -> Job {
    Job { place, image: Arc::new(repository("d").tagged(format!("t{place}").parse().unwrap())) }
}

fn digest(n: usize) -> Digest {
    Digest::of(&n.to_le_bytes())
}

fn awaited(wanted: Wanted) -> oneshot::Receiver<Answer> {
    match wanted {
        Wanted::Await { answer, .. } => answer,
        Wanted::Here => panic!("it is said to be here"),
        Wanted::Failed(failure) => panic!("{failure}"),
    }
}

fn board(workers: usize, tiny: usize) -> Board {
    Board::new(&Limits { workers, requests: 9, tiny, streamed_from: 100, images: 9 })
}

fn failure() -> Failure {
    Failure::internal("test")
}

/// The most urgent of what may start.
fn first(board: &Board) -> Ticket {
    board.take_ready().remove(0)
}

fn landed(board: &Board, ticket: Ticket, came: Came) {
    board.give_back(ticket, Back::Landed(came));
}

fn mount_refused(board: &Board, ticket: Ticket) {
    board.give_back(ticket, Back::MountRefused(None));
}

/// Answers what is to be resumed.
fn postponed(board: &Board, ticket: Ticket) -> (BlobKey, Repository) {
    let held = (ticket.key.clone(), ticket.destination.clone());
    board.give_back(ticket, Back::Postponed(Duration::ZERO));
    held
}

fn resume(board: &Board, (key, destination): &(BlobKey, Repository)) {
    board.resume(key, destination);
}

fn fail(board: &Board, ticket: Ticket, concerns: Concerns) {
    board.note(&ticket, &[(concerns, failure())]);
    board.give_back(ticket, Back::Failed);
}

fn is_move(ticket: &Ticket) -> bool {
    matches!(ticket.work, Work::Move { .. })
}

#[test]
fn a_blob_is_moved_once_and_mounted_for_the_others() {
    let board = board(7, 1);
    let source = repository("s");
    let mut answers: Vec<_> =
        (0..5).map(|n| awaited(board.want(&digest(0), SIZE, &source, &at("d", n), &job(n)))).collect();
    // A second image of the same repository waits with the first.
    answers.push(awaited(board.want(&digest(0), SIZE, &source, &at("d", 0), &job(9))));
    let mut ready = board.take_ready();
    assert_eq!(ready.len(), 1);
    assert!(is_move(&ready[0]));
    landed(&board, ready.remove(0), Came::Moved);
    let mounts = board.take_ready();
    assert_eq!(mounts.len(), 4);
    assert!(mounts.iter().all(|ticket| matches!(&ticket.work, Work::Mount { from } if *from == at("d", 0))));
    mounts.into_iter().for_each(|ticket| landed(&board, ticket, Came::Mounted));
    let came: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().unwrap().unwrap()).collect();
    // Each repository's first image is told what happened, so that nothing is counted twice.
    assert_eq!(came[0], Came::Moved);
    assert_eq!(came[1..5], [Came::Mounted; 4]);
    assert_eq!(came[5], Came::Present);
    assert!(matches!(board.want(&digest(0), SIZE, &source, &at("d", 3), &job(10)), Wanted::Here));
}

#[test]
fn where_mounts_are_refused_each_repository_gets_its_own() {
    let board = board(2, 1);
    let source = repository("s");
    let _answers: Vec<_> =
        (0..9).map(|n| awaited(board.want(&digest(0), SIZE, &source, &at("d", n), &job(n)))).collect();
    landed(&board, first(&board), Came::Moved);
    let mounts = board.take_ready();
    assert_eq!(mounts.len(), 8);
    mounts.into_iter().for_each(|ticket| mount_refused(&board, ticket));
    let mut moved = 0;
    loop {
        let ready = board.take_ready();
        assert!(ready.iter().all(is_move), "a registry that refused {REFUSALS} times is not asked again");
        assert!(ready.len() <= 2);
        if ready.is_empty() {
            break;
        }
        moved += ready.len();
        ready.into_iter().for_each(|ticket| landed(&board, ticket, Came::Moved));
    }
    assert_eq!(moved, 8);
    // The next blob is not even tried.
    let _more: Vec<_> = (0..2).map(|n| awaited(board.want(&digest(1), SIZE, &source, &at("d", n), &job(n)))).collect();
    assert_eq!(board.take_ready().iter().filter(|ticket| is_move(ticket)).count(), 2);
}

#[test]
fn a_failure_concerns_those_in_its_scope_for_the_round() {
    let want = |board: &Board, source: &str, destination: usize| {
        board.want(&digest(0), SIZE, &repository(source), &at("d", destination), &job(0))
    };
    let board = board(7, 1);
    let mut answer = awaited(want(&board, "s", 0));
    let mut same_source = awaited(want(&board, "s", 1));
    let mut other_source = awaited(want(&board, "t", 2));
    fail(&board, first(&board), Concerns::Source(repository("s")));
    assert_eq!(answer.try_recv(), Ok(Err(failure())));
    assert_eq!(same_source.try_recv(), Ok(Err(failure())));
    assert!(other_source.try_recv().is_err());
    assert!(matches!(want(&board, "s", 3), Wanted::Failed(_)));
    let next = first(&board);
    assert_eq!(next.destination, at("d", 2));
    fail(&board, next, Concerns::Destination(at("d", 2)));
    assert!(matches!(want(&board, "u", 2), Wanted::Failed(_)));
    board.begin_round();
    assert!(matches!(want(&board, "s", 0), Wanted::Await { .. }));
}

#[test]
fn a_source_that_is_named_while_another_fails_is_tried() {
    let board = board(7, 1);
    let mut answer = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(0)));
    let ticket = first(&board);
    let mut second = awaited(board.want(&digest(0), SIZE, &repository("t"), &at("d", 0), &job(1)));
    fail(&board, ticket, Concerns::Source(repository("s")));
    assert!(answer.try_recv().is_err() && second.try_recv().is_err());
    landed(&board, first(&board), Came::Moved);
    assert_eq!((answer.try_recv(), second.try_recv()), (Ok(Ok(Came::Moved)), Ok(Ok(Came::Present))));
}

#[test]
fn what_is_queued_behind_a_failure_learns_of_it() {
    let board = board(1, 1);
    let refuse = |n| {
        let _answers: Vec<_> =
            (0..2).map(|at_| awaited(board.want(&digest(n), SIZE, &repository("s"), &at("d", at_), &job(0)))).collect();
        landed(&board, first(&board), Came::Moved);
        board.take_ready().into_iter().for_each(|ticket| mount_refused(&board, ticket));
        board.take_ready().into_iter().for_each(|ticket| landed(&board, ticket, Came::Moved));
    };
    (1..=REFUSALS as usize).for_each(refuse);
    let mut answers: Vec<_> =
        (0..5).map(|n| awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", n), &job(n)))).collect();
    fail(&board, first(&board), Concerns::Source(repository("s")));
    assert!(board.take_ready().is_empty(), "a corrupt blob is not read for each repository");
    assert!(answers.iter_mut().all(|answer| answer.try_recv() == Ok(Err(failure()))));
}

#[test]
fn a_source_that_lacks_it_is_not_asked_for_ever_where_mounts_are_refused() {
    let board = board(7, 1);
    let _first = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(0)));
    landed(&board, first(&board), Came::Moved);
    let mut second = awaited(board.want(&digest(0), SIZE, &repository("t"), &at("d", 1), &job(1)));
    mount_refused(&board, first(&board));
    fail(&board, first(&board), Concerns::Source(repository("t")));
    assert!(board.take_ready().is_empty(), "it is read again");
    assert_eq!(second.try_recv(), Ok(Err(failure())));
}

#[test]
fn what_is_queued_in_one_round_is_no_second_ticket_in_the_next() {
    let board = board(1, 1);
    let want = |n| awaited(board.want(&digest(n), SIZE, &repository("s"), &at("d", 0), &job(n)));
    let (_first, _queued) = (want(0), want(1));
    landed(&board, first(&board), Came::Moved);
    board.begin_round();
    let _again = want(1);
    landed(&board, first(&board), Came::Moved);
    assert!(board.take_ready().is_empty());
}

#[test]
fn a_mount_that_was_not_needed_was_not_granted() {
    let board = board(7, 1);
    let want_in_two = |n| -> Vec<_> {
        (0..2).map(|at_| awaited(board.want(&digest(n), SIZE, &repository("s"), &at("d", at_), &job(0)))).collect()
    };
    for n in 1..=REFUSALS as usize {
        let _answers = want_in_two(n);
        board.take_ready().into_iter().for_each(|ticket| landed(&board, ticket, Came::Moved));
        // The registry has it there, and would not have mounted it.
        board.take_ready().into_iter().for_each(|ticket| landed(&board, ticket, Came::Present));
    }
    let _answers = want_in_two(0);
    assert_eq!(board.take_ready().len(), 2, "nobody waits for what would be mounted");
}

#[test]
fn what_a_registry_could_not_answer_is_no_refusal() {
    let board = board(7, 1);
    for n in 0..=REFUSALS as usize {
        let _answers: Vec<_> =
            (0..2).map(|at_| awaited(board.want(&digest(n), SIZE, &repository("s"), &at("d", at_), &job(0)))).collect();
        board.take_ready().into_iter().for_each(|ticket| landed(&board, ticket, Came::Moved));
        board.take_ready().into_iter().for_each(|ticket| board.give_back(ticket, Back::NotMounted(None)));
        let ready = board.take_ready();
        assert!(ready.iter().all(is_move));
        ready.into_iter().for_each(|ticket| landed(&board, ticket, Came::Moved));
    }
    assert!(board.mounts(at("d", 0).registry(), |mounts| mounts.are_worth_asking(When::Late)));
}

#[test]
fn nobody_waits_for_a_mount_where_mounts_are_not_what_they_are_said_to_be() {
    let board = board(7, 1);
    let want = |n, to| awaited(board.want(&digest(n), SIZE, &repository("s"), &at("d", to), &job(to)));
    let _granted = [want(0, 0), want(0, 1)];
    landed(&board, first(&board), Came::Moved);
    landed(&board, first(&board), Came::Mounted);
    let _queued = want(0, 2);
    board.mounts(at("d", 0).registry(), Mounts::were_wrong);
    let _side_by_side = [want(1, 0), want(1, 1)];
    let ready = board.take_ready();
    assert!(ready.len() == 3 && ready.iter().all(is_move), "{ready:?}");
}

#[test]
fn a_source_that_failed_is_not_read_for_the_next_who_names_it() {
    let board = board(7, 1);
    let want = |source, n| awaited(board.want(&digest(0), SIZE, &repository(source), &at("d", 0), &job(n)));
    let _first = want("s", 0);
    let ticket = first(&board);
    let _second = want("t", 1);
    fail(&board, ticket, Concerns::Source(repository("s")));
    let sources = first(&board).work;
    assert!(matches!(sources, Work::Move { sources, .. } if sources == [repository("t")]));
}

#[test]
fn a_destination_that_refuses_does_not_stop_another() {
    let board = board(7, 1);
    let mut refused = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(0)));
    let mut other = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 1), &job(1)));
    let ticket = first(&board);
    let destination = ticket.destination.clone();
    fail(&board, ticket, Concerns::Destination(destination));
    assert!(refused.try_recv().is_ok());
    landed(&board, first(&board), Came::Moved);
    assert_eq!(other.try_recv(), Ok(Ok(Came::Moved)));
}

#[test]
fn a_wrong_size_fails_alone() {
    let board = board(7, 1);
    let mut wrong = awaited(board.want(&digest(0), 5, &repository("s"), &at("d", 0), &job(0)));
    let mut right = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(1)));
    for ticket in board.take_ready() {
        if ticket.key.size == 5 {
            fail(&board, ticket, Concerns::Source(repository("s")));
        } else {
            landed(&board, ticket, Came::Moved);
        }
    }
    assert_eq!(wrong.try_recv(), Ok(Err(failure())));
    assert_eq!(right.try_recv(), Ok(Ok(Came::Moved)));
}

#[test]
fn what_nobody_waits_for_any_more_is_not_moved() {
    let board = board(1, 1);
    let answer = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(0)));
    let second = board.want(&digest(1), SIZE, &repository("s"), &at("d", 0), &job(1));
    let ticket = first(&board);
    drop(second);
    landed(&board, ticket, Came::Moved);
    assert!(board.take_ready().is_empty());
    drop(answer);
}

#[test]
fn what_the_registry_denies_is_looked_for_again() {
    let board = board(7, 1);
    let _answer = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(0)));
    landed(&board, first(&board), Came::Moved);
    board.forget(&at("d", 0), [&digest(0)].into_iter());
    let _again = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(0)));
    assert!(is_move(&board.take_ready()[0]));
}

#[test]
fn what_is_sent_hands_its_place_on_within_its_pair() {
    let board = board(2, 1);
    let want = |source: &str, n| awaited(board.want(&digest(n), SIZE, &repository(source), &at("d", n), &job(n)));
    let _answers = [want("s", 0), want("t", 1), want("s", 2)];
    let flying = board.take_ready();
    let is_of_s = |ticket: &Ticket| ticket.place.pair.source == *repository("s").registry();
    let (mut of_s, of_t): (Vec<_>, Vec<_>) = flying.into_iter().partition(is_of_s);
    let (first, other) = (of_s.remove(0), &of_t[0]);
    assert!(board.sent(&other.place).is_none(), "the other pair has nothing more to do");
    let next = board.sent(&first.place).expect("what waits");
    assert!(Arc::ptr_eq(&next.place.sending, &first.place.sending), "it is sent in its turn");
    let _more = want("s", 3);
    assert!(board.sent(&first.place).is_none(), "it has no place any more");
    landed(&board, first, Came::Moved);
    assert!(board.take_ready().is_empty(), "nor does it give one back");
    landed(&board, next, Came::Moved);
    assert_eq!(board.take_ready().len(), 1);
}

/// So many images each need a blob of their own.
fn want_all(board: &Board, images: usize) -> Vec<oneshot::Receiver<Answer>> {
    (0..images).map(|n| awaited(board.want(&digest(n), SIZE, &repository("s"), &at("d", n), &job(n)))).collect()
}

#[test]
fn one_worker_does_one_thing_at_a_time() {
    let board = board(1, 0);
    let _answers = want_all(&board, 2);
    let first = first(&board);
    assert!(board.sent(&first.place).is_none());
    landed(&board, first, Came::Moved);
    assert_eq!(board.take_ready().len(), 1);
}

#[test]
fn who_has_too_many_places_hands_none_on() {
    let board = board(4, 0);
    let _answers = want_all(&board, 9);
    let flying = board.take_ready();
    board.overloaded(&flying[0]);
    assert!(board.sent(&flying[1].place).is_none());
}

#[test]
fn who_has_given_a_place_back_hands_it_on_to_nobody() {
    let board = board(2, 1);
    let _answers = want_all(&board, 4);
    let mut flying = board.take_ready();
    let ticket = flying.remove(0);
    let place = ticket.place.clone();
    // The registry answered before it had all of it, and its connection takes the rest.
    landed(&board, ticket, Came::Moved);
    assert!(board.sent(&place).is_none());
    assert_eq!(board.take_ready().len(), 1);
}
