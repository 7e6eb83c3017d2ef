//! What the board keeps of what happened: sizes, seals, postponements, and nothing of a round that is over.

use super::*;

/// One image of each of these destinations needs the blob; the first has it moved there.
fn brought_to_first_of(board: &Board, n: usize, destinations: &[usize]) -> Vec<oneshot::Receiver<Answer>> {
    let want = |&to: &usize| awaited(board.want(&digest(n), SIZE, &repository("s"), &at("d", to), &job(to)));
    let answers = destinations.iter().map(want).collect();
    landed(board, first(board), Came::Moved);
    answers
}

#[test]
fn a_blob_is_mounted_from_where_its_bytes_were_counted() {
    let board = board(7, 1);
    // A registry has something under this digest, and nobody knows how much.
    let _wrong = awaited(board.want(&digest(0), 5, &repository("s"), &at("d", 0), &job(0)));
    landed(&board, first(&board), Came::Present);
    let _counted = brought_to_first_of(&board, 0, &[1]);
    let _mounted = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 2), &job(2)));
    assert!(matches!(&board.take_ready()[0].work, Work::Mount { from } if *from == at("d", 1)));
}

#[test]
fn mounts_that_were_refused_before_the_manifest_are_asked_for_behind_it() {
    let board = board(7, 1);
    for n in 1..=REFUSALS as usize {
        let _answers = brought_to_first_of(&board, n, &[0, 1]);
        board.take_ready().into_iter().for_each(|ticket| mount_refused(&board, ticket));
        landed(&board, first(&board), Came::Moved);
    }
    let want = |n, to| awaited(board.want(&digest(n), SIZE, &repository("s"), &at("d", to), &job(0)));
    let _before = want(1, 2);
    assert!(is_move(&board.take_ready()[0]), "there is no manifest yet");
    board.sealed(&at("d", 0), [(&digest(2), SIZE)].into_iter());
    let _behind = want(2, 2);
    assert!(matches!(&board.take_ready()[0].work, Work::Mount { from } if *from == at("d", 0)));
}

#[test]
fn each_time_that_a_blob_is_postponed_is_counted() {
    let board = board(1, 1);
    let _answer = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(0)));
    for postponements in 0..3 {
        let ticket = first(&board);
        assert_eq!(ticket.postponements, postponements);
        resume(&board, &postponed(&board, ticket));
    }
}

#[test]
fn of_a_repository_whose_work_is_done_nothing_is_kept() {
    let board = board(7, 1);
    let _answers = brought_to_first_of(&board, 0, &[0, 1]);
    board.take_ready().into_iter().for_each(|ticket| landed(&board, ticket, Came::Mounted));
    let want = || board.want(&digest(0), SIZE, &repository("s"), &at("d", 1), &job(2));
    assert!(matches!(want(), Wanted::Here));
    board.close(&at("d", 1));
    assert!(matches!(want(), Wanted::Await { .. }));
}

#[test]
fn what_was_queued_in_an_earlier_round_has_no_older_turn_in_the_next() {
    let board = board(1, 1);
    let want = |n, place| awaited(board.want(&digest(n), SIZE, &repository("s"), &at("d", 0), &job(place)));
    let _former = [want(0, 0), want(1, 1)];
    landed(&board, first(&board), Came::Moved);
    // The other image fails while its blob waits in the lane.
    board.begin_round();
    let _now = [want(1, 9), want(2, 5)];
    assert_eq!(board.take_ready()[0].key.digest, digest(2));
}

#[test]
fn one_worker_brings_an_empty_blob_too() {
    let board = Board::new(&Limits::for_workers(1));
    let _answer = awaited(board.want(&digest(0), 0, &repository("s"), &at("d", 0), &job(0)));
    assert_eq!(board.take_ready().len(), 1);
}
