//! Many random worlds, in which everything must end.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::*;

/// Random needs, and for each ticket a random end. Whatever happens, nobody waits for ever, the limits hold, a blob flies
/// at most once at a time to a registry that mounts, and none is said to be where it was not brought.
#[test]
fn every_need_ends_in_every_world() {
    (0..2_000).for_each(|seed| World::new(seed).run());
}

/// A blob of this size in a repository.
type Spot = (Repository, Digest, u64);

struct World {
    seed: u64,
    random: StdRng,
    board: Board,
    workers: usize,
    tiny: usize,
    /// How much goes wrong.
    trouble: f64,
    /// Whether mounts are refused: then a blob is moved more than once.
    refuses: bool,
    /// Blobs that are still to be wanted.
    left: usize,
    answers: Vec<(oneshot::Receiver<Answer>, Spot)>,
    flying: Vec<Ticket>,
    held: Vec<(BlobKey, Repository)>,
    /// Where each blob is, and where it ever was.
    there: BTreeSet<Spot>,
    was_there: BTreeSet<Spot>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let (workers, tiny) = (random.random_range(1..4), random.random_range(1..4));
        Self {
            seed,
            board: board(workers, tiny),
            workers,
            tiny,
            trouble: random.random_range(0.0..0.6),
            refuses: random.random_bool(0.3),
            left: random.random_range(1..60),
            random,
            answers: Vec::new(),
            flying: Vec::new(),
            held: Vec::new(),
            there: BTreeSet::new(),
            was_there: BTreeSet::new(),
        }
    }

    fn run(mut self) {
        loop {
            if self.left > 0 && (self.flying.is_empty() || self.random.random_bool(0.5)) {
                self.left -= 1;
                self.want();
            }
            match self.random.random_range(0..50) {
                0..3 => self.lose_an_image(),
                3..6 => self.deny_a_blob(),
                6..9 => self.seal_a_blob(),
                9 => self.begin_round(),
                _ => {}
            }
            if !self.held.is_empty() && (self.flying.is_empty() || self.random.random_bool(0.2)) {
                let at = self.random.random_range(0..self.held.len());
                resume(&self.board, &self.held.swap_remove(at));
            }
            self.start();
            self.check_flights();
            if !self.flying.is_empty() {
                let at = self.random.random_range(0..self.flying.len());
                self.end(at);
            } else if self.held.is_empty() && self.left == 0 {
                break;
            }
        }
        let Self { seed, was_there, .. } = self;
        for (mut answer, spot) in self.answers {
            let came = answer.try_recv().unwrap_or_else(|_| panic!("seed {seed}: somebody waits for ever"));
            assert!(came.is_err() || was_there.contains(&spot), "seed {seed}: {spot:?} is said to be there");
        }
        assert!(self.board.lock().lanes.are_free(), "seed {seed}: a place is lost");
    }

    /// Some manifests say another size than a blob has.
    fn want(&mut self) {
        let random = &mut self.random;
        let n = random.random_range(0..6);
        let real = if n % 2 == 0 { 10 } else { SIZE };
        let size = real + u64::from(random.random_bool(0.1));
        let source = at(["s", "t"].choose(random).unwrap(), random.random_range(0..3));
        let destination = at(["d", "e"].choose(random).unwrap(), random.random_range(0..4));
        let spot = (destination, digest(n), size);
        match self.board.want(&spot.1, size, &source, &spot.0, &job(self.left)) {
            Wanted::Await { answer, .. } => self.answers.push((answer, spot)),
            Wanted::Here => assert!(self.there.contains(&spot), "seed {}: it is not there", self.seed),
            Wanted::Failed(_) => {}
        }
    }

    /// An image fails, and waits for a blob no more.
    fn lose_an_image(&mut self) {
        if !self.answers.is_empty() {
            self.answers.swap_remove(self.random.random_range(0..self.answers.len()));
        }
    }

    /// The registry says that a blob is not where it was brought.
    fn deny_a_blob(&mut self) {
        if let Some(spot) = self.one_that_is_there() {
            self.board.forget(&spot.0, [&spot.1].into_iter());
            self.there.remove(&spot);
        }
    }

    /// A manifest that names a blob comes to where that is.
    fn seal_a_blob(&mut self) {
        if let Some((repository, digest, size)) = self.one_that_is_there() {
            self.board.sealed(&repository, [(&digest, size)].into_iter());
        }
    }

    fn one_that_is_there(&mut self) -> Option<Spot> {
        let count = self.there.len();
        (count > 0).then(|| self.there.iter().nth(self.random.random_range(0..count)).cloned())?
    }

    /// The round is over: what flies is cut, and nobody waits any more.
    fn begin_round(&mut self) {
        for ticket in self.flying.drain(..) {
            self.board.give_back(ticket, Back::Aborted(failure()));
        }
        self.answers.clear();
        self.held.clear();
        self.board.begin_round();
        assert!(self.board.lock().lanes.are_free(), "seed {}: a place is lost between two rounds", self.seed);
    }

    fn start(&mut self) {
        let mut begun = self.board.take_ready();
        if let Some(ticket) = self.flying.choose(&mut self.random).filter(|ticket| is_move(ticket)) {
            begun.extend(self.board.sent(&ticket.place));
        }
        for ticket in begun {
            if let Work::Mount { from } = &ticket.work {
                let home = (from.clone(), ticket.key.digest.clone(), ticket.key.size);
                assert!(self.there.contains(&home), "seed {}: it is not at {from}", self.seed);
            }
            self.flying.push(ticket);
        }
    }

    fn check_flights(&self) {
        let Self { seed, workers, tiny, .. } = self;
        let moves = || self.flying.iter().filter(|ticket| is_move(ticket));
        let sent = |small: bool| {
            let has_place = |ticket: &&Ticket| !ticket.place.is_given_away() && (ticket.key.size < 100) == small;
            moves().filter(has_place).count()
        };
        assert!(sent(false) <= *workers && sent(true) <= *tiny, "seed {seed}");
        let key = |ticket: &Ticket| (ticket.key.registry.clone(), ticket.key.digest.clone(), ticket.key.size);
        let distinct: BTreeSet<_> = moves().map(key).collect();
        assert!(self.refuses || distinct.len() == moves().count(), "seed {seed}: a blob is moved twice at a time");
    }

    fn end(&mut self, at: usize) {
        let ticket = self.flying.swap_remove(at);
        if self.random.random_bool(self.trouble / 2.0) {
            self.board.overloaded(&ticket);
            return self.held.push(postponed(&self.board, ticket));
        }
        let back = match &ticket.work {
            Work::Mount { .. } => self.end_of_mount(),
            Work::Move { sources, .. } => {
                let (back, concerned) = self.end_of_move(&ticket, sources);
                let reasons: Vec<_> = concerned.into_iter().map(|concerned| (concerned, failure())).collect();
                self.board.note(&ticket, &reasons);
                back
            }
        };
        if let Back::Landed(_) = back {
            let spot = (ticket.destination.clone(), ticket.key.digest.clone(), ticket.key.size);
            self.there.insert(spot.clone());
            self.was_there.insert(spot);
        }
        self.board.give_back(ticket, back);
    }

    fn end_of_mount(&mut self) -> Back {
        match self.random.random_range(0..10) {
            0..5 if self.refuses => Back::MountRefused(None),
            5..7 if self.refuses => Back::NotMounted(None),
            7 if self.refuses => Back::Landed(Came::Present),
            _ => Back::Landed(Came::Mounted),
        }
    }

    /// And whom it concerns if it failed. What has another size than was said always does.
    fn end_of_move(&mut self, ticket: &Ticket, sources: &[Repository]) -> (Back, Vec<Concerns>) {
        let of_sources = || sources.iter().cloned().map(Concerns::Source).collect();
        if ![10, SIZE].contains(&ticket.key.size) {
            return (Back::Failed, of_sources());
        }
        if !self.random.random_bool(self.trouble) {
            let came = if self.random.random_bool(0.2) { Came::Present } else { Came::Moved };
            return (Back::Landed(came), Vec::new());
        }
        match self.random.random_range(0..3) {
            0 => (Back::Failed, of_sources()),
            1 => (Back::Failed, vec![Concerns::Destination(ticket.destination.clone())]),
            _ => (Back::Aborted(failure()), Vec::new()),
        }
    }
}
