//! What a registry does not want to be asked for now.

use super::*;

#[test]
fn what_is_postponed_leaves_its_place_to_others_and_is_not_begun_elsewhere() {
    let board = board(1, 1);
    let mut answer = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(0)));
    let _elsewhere = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 1), &job(1)));
    let _other = awaited(board.want(&digest(1), SIZE, &repository("t"), &at("d", 2), &job(2)));
    let held = postponed(&board, first(&board));
    let mut ready = board.take_ready();
    assert_eq!(ready.iter().map(|ticket| &ticket.key.digest).collect::<Vec<_>>(), [&digest(1)]);
    landed(&board, ready.remove(0), Came::Moved);
    assert!(board.take_ready().is_empty());
    resume(&board, &held);
    landed(&board, first(&board), Came::Moved);
    assert_eq!(answer.try_recv(), Ok(Ok(Came::Moved)));
}

#[test]
fn what_was_postponed_in_one_round_is_begun_anew_in_the_next() {
    let board = board(1, 1);
    drop(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(0)));
    let _stays = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(0)));
    postponed(&board, first(&board));
    board.begin_round();
    let _next = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(0)));
    assert_eq!(board.take_ready().len(), 1);
}

#[test]
fn nobody_waits_for_what_was_postponed_in_an_earlier_round() {
    let board = board(2, 1);
    let want = |n| board.want(&digest(0), SIZE, &repository("s"), &at("d", n), &job(n));
    let (mover, behind) = (want(0), want(1));
    postponed(&board, first(&board));
    drop((mover, behind));
    board.begin_round();
    // The image that would have moved it has failed for good.
    let _again = want(1);
    assert_eq!(board.take_ready().len(), 1);
}

#[test]
fn what_one_registry_keeps_back_is_had_from_another() {
    for is_wanted_before in [true, false] {
        let board = board(2, 1);
        let want = |source, n| awaited(board.want(&digest(0), SIZE, &repository(source), &at("d", n), &job(n)));
        let mut answer = want("slow", 0);
        let ticket = first(&board);
        let _early = is_wanted_before.then(|| want("fast", 2));
        assert!(board.take_ready().is_empty(), "one moves it for all");
        let held = postponed(&board, ticket);
        let _same = want("slow", 1);
        let _late = (!is_wanted_before).then(|| want("fast", 2));
        let ticket = first(&board);
        assert!(is_move(&ticket) && ticket.destination == at("d", 2));
        landed(&board, ticket, Came::Moved);
        let mount = first(&board);
        assert!(!is_move(&mount) && mount.destination == at("d", 1), "it is there now");
        landed(&board, mount, Came::Mounted);
        assert!(board.take_ready().is_empty(), "what was postponed waits for its time");
        resume(&board, &held);
        landed(&board, first(&board), Came::Mounted);
        assert_eq!(answer.try_recv(), Ok(Ok(Came::Mounted)));
    }
}

#[test]
fn a_need_that_is_kept_back_is_begun_again_with_a_source_in_another_registry() {
    let board = board(1, 1);
    let want = |source| awaited(board.want(&digest(0), SIZE, &repository(source), &at("d", 0), &job(0)));
    let _first = want("slow");
    let held = postponed(&board, first(&board));
    let _same = want("slow");
    assert!(board.take_ready().is_empty());
    let _other = want("fast");
    let again = first(&board);
    assert!(matches!(&again.work, Work::Move { sources, .. } if sources.len() == 2));
    // Its time comes while it is under way, or after it.
    resume(&board, &held);
    landed(&board, again, Came::Moved);
    resume(&board, &held);
    assert!(board.take_ready().is_empty());
}
