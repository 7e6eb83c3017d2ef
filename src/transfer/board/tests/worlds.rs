//! Many random worlds, in which everything must end.

use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::*;

/// Random needs, and for each ticket a random end. Whatever happens, nobody waits for ever, the limits hold, a blob flies
/// at most once at a time to a registry that mounts, and none is said to be where it was not brought.
#[test]
fn every_need_ends_in_every_world() {
    for seed in 0..2_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let (workers, tiny) = (random.random_range(1..4), random.random_range(1..4));
        let board = board(workers, tiny);
        let trouble = random.random_range(0.0..0.6);
        let refusals = random.random_bool(0.3);
        let mut answers = Vec::new();
        let mut flying: Vec<Ticket> = Vec::new();
        let mut held: Vec<(BlobKey, Repository)> = Vec::new();
        let mut there: HashSet<(Repository, Digest)> = HashSet::new();
        let mut left = random.random_range(1..60);
        loop {
            if left > 0 && (flying.is_empty() || random.random_bool(0.5)) {
                left -= 1;
                let n = random.random_range(0..6);
                let size = if n % 2 == 0 { 10 } else { SIZE };
                let source = at(["s", "t"].choose(&mut random).unwrap(), random.random_range(0..3));
                let destination = at(["d", "e"].choose(&mut random).unwrap(), random.random_range(0..4));
                match board.want(&digest(n), size, &source, &destination, &job(left)) {
                    Wanted::Await { answer, .. } => answers.push((answer, (destination, digest(n)))),
                    Wanted::Here => assert!(there.contains(&(destination, digest(n))), "seed {seed}: it is not there"),
                    Wanted::Failed(_) => {}
                }
            }
            if !held.is_empty() && (flying.is_empty() || random.random_bool(0.2)) {
                resume(&board, &held.swap_remove(random.random_range(0..held.len())));
            }
            flying.extend(board.take_ready());
            if let Some(ticket) = flying.choose(&mut random).filter(|ticket| is_move(ticket)) {
                flying.extend(board.sent(&ticket.place));
            }
            let reading = |small: bool| {
                let has_place = |ticket: &&Ticket| !ticket.place.is_given_away() && is_move(ticket);
                flying.iter().filter(has_place).filter(|ticket| (ticket.key.size < 100) == small).count()
            };
            assert!(reading(false) <= workers && reading(true) <= tiny, "seed {seed}");
            if !refusals {
                let mut keys: Vec<_> = flying.iter().filter(|ticket| is_move(ticket)).map(|t| &t.key).collect();
                let all = keys.len();
                keys.sort_by_key(|key| (key.registry.clone(), key.digest.clone()));
                keys.dedup();
                assert_eq!(keys.len(), all, "seed {seed}: a blob is moved twice at a time");
            }
            if flying.is_empty() && held.is_empty() && left == 0 {
                break;
            }
            if flying.is_empty() {
                continue;
            }
            let ticket = flying.swap_remove(random.random_range(0..flying.len()));
            if random.random_bool(trouble / 2.0) {
                board.overloaded(&ticket);
                held.push(postponed(&board, ticket));
                continue;
            }
            if let Work::Mount { from } = &ticket.work {
                assert!(there.contains(&(from.clone(), ticket.key.digest.clone())), "seed {seed}: it is not at {from}");
            }
            let back = match &ticket.work {
                Work::Mount { .. } if refusals && random.random_bool(0.7) => Back::MountRefused(None),
                Work::Mount { .. } => Back::Landed(Came::Mounted),
                Work::Move { .. } if !random.random_bool(trouble) => Back::Landed(Came::Moved),
                Work::Move { sources, .. } => match random.random_range(0..3) {
                    0 => {
                        let reasons = sources.iter().map(|source| (Concerns::Source(source.clone()), failure()));
                        board.note(&ticket, &reasons.collect::<Vec<_>>());
                        Back::Failed
                    }
                    1 => {
                        board.note(&ticket, &[(Concerns::Destination(ticket.destination.clone()), failure())]);
                        Back::Failed
                    }
                    _ => Back::Aborted(failure()),
                },
            };
            if let Back::Landed(_) = back {
                there.insert((ticket.destination.clone(), ticket.key.digest.clone()));
            }
            board.give_back(ticket, back);
        }
        for (mut answer, place) in answers {
            let came = answer.try_recv().unwrap_or_else(|_| panic!("seed {seed}: somebody waits for ever"));
            assert!(came.is_err() || there.contains(&place), "seed {seed}: {place:?} is said to be there");
        }
        assert!(board.lock().lanes.are_free(), "seed {seed}: a place is lost");
    }
}
