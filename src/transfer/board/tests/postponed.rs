//! What a registry does not want to be asked for now.

use super::*;

#[test]
fn what_is_postponed_leaves_its_place_to_others_and_is_not_begun_elsewhere() {
    let board = board(1, 1);
    let mut first = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(0)));
    let _elsewhere = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 1), &job(1)));
    let _other = awaited(board.want(&digest(1), SIZE, &repository("t"), &at("d", 2), &job(2)));
    let ticket = board.take_ready().remove(0);
    board.postponed(&ticket);
    let ready = board.take_ready();
    assert_eq!(ready.iter().map(|ticket| &ticket.key.digest).collect::<Vec<_>>(), [&digest(1)]);
    board.landed(&ready[0], Came::Moved);
    assert!(board.take_ready().is_empty());
    board.resume(&ticket.key, &ticket.destination);
    board.landed(&board.take_ready()[0], Came::Moved);
    assert_eq!(first.try_recv(), Ok(Ok(Came::Moved)));
}

#[test]
fn what_was_postponed_in_one_round_is_begun_anew_in_the_next() {
    let board = board(1, 1);
    drop(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(0)));
    let _stays = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(0)));
    board.postponed(&board.take_ready()[0]);
    board.begin_round();
    let _next = awaited(board.want(&digest(0), SIZE, &repository("s"), &at("d", 0), &job(0)));
    assert_eq!(board.take_ready().len(), 1);
}

#[test]
fn nobody_waits_for_what_was_postponed_in_an_earlier_round() {
    let board = board(2, 1);
    let want = |n| board.want(&digest(0), SIZE, &repository("s"), &at("d", n), &job(n));
    let (mover, behind) = (want(0), want(1));
    board.postponed(&board.take_ready()[0]);
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
        let mut first = want("slow", 0);
        let held = board.take_ready().remove(0);
        let _early = is_wanted_before.then(|| want("fast", 2));
        assert!(board.take_ready().is_empty(), "one moves it for all");
        board.postponed(&held);
        let _same = want("slow", 1);
        let _late = (!is_wanted_before).then(|| want("fast", 2));
        let ticket = board.take_ready().remove(0);
        assert!(is_move(&ticket) && ticket.destination == at("d", 2));
        board.landed(&ticket, Came::Moved);
        let mount = board.take_ready().remove(0);
        assert!(!is_move(&mount) && mount.destination == at("d", 1), "it is there now");
        board.landed(&mount, Came::Mounted);
        assert!(board.take_ready().is_empty(), "what was postponed waits for its time");
        board.resume(&held.key, &held.destination);
        board.landed(&board.take_ready()[0], Came::Mounted);
        assert_eq!(first.try_recv(), Ok(Ok(Came::Mounted)));
    }
}

#[test]
fn a_need_that_is_kept_back_is_begun_again_with_a_source_in_another_registry() {
    let board = board(1, 1);
    let want = |source| awaited(board.want(&digest(0), SIZE, &repository(source), &at("d", 0), &job(0)));
    let _first = want("slow");
    let ticket = board.take_ready().remove(0);
    board.postponed(&ticket);
    let _same = want("slow");
    assert!(board.take_ready().is_empty());
    let _other = want("fast");
    let again = board.take_ready().remove(0);
    assert!(matches!(&again.work, Work::Move { sources, .. } if sources.len() == 2));
    // Its time comes while it is under way, or after it.
    board.resume(&ticket.key, &ticket.destination);
    board.landed(&again, Came::Moved);
    board.resume(&ticket.key, &ticket.destination);
    assert!(board.take_ready().is_empty());
}
