//! How many may be in flight at once: additive increase, multiplicative decrease.

/// Halved when the other side says that it is too much, one more for each windowful that went well.
///
/// What was begun before the last change says nothing of the window as it is now: a burst that is refused as a whole
/// halves it once.
#[derive(Debug, Clone)]
pub struct Window {
    most: usize,
    size: usize,
    /// Counts the changes.
    generation: u64,
    went_well: usize,
}

impl Window {
    /// A window that is wide open.
    pub fn new(most: usize) -> Self {
        Self { most, size: most, generation: 0, went_well: 0 }
    }

    pub fn size(&self) -> usize {
        self.size
    }

    fn is_full(&self) -> bool {
        self.size >= self.most
    }

    /// What [`Window::overloaded`] and [`Window::went_well`] want to hear of what begins now.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Something begun in `generation` was refused because there was too much. Answers by how many the window shrank.
    pub fn overloaded(&mut self, generation: u64) -> usize {
        if generation != self.generation {
            return 0;
        }
        self.change(self.size.div_ceil(2).max(1).min(self.size))
    }

    /// Something begun in `generation` went well. Answers whether the window grew, which is by one.
    pub fn went_well(&mut self, generation: u64) -> bool {
        if generation != self.generation || self.is_full() {
            return false;
        }
        self.went_well += 1;
        if self.went_well < self.size {
            return false;
        }
        self.change(self.size + 1);
        true
    }

    fn change(&mut self, size: usize) -> usize {
        let shrunk = self.size.saturating_sub(size);
        self.size = size;
        self.generation += 1;
        self.went_well = 0;
        shrunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_burst_halves_it_once() {
        let mut window = Window::new(28);
        let begun = window.generation();
        let shrunk: usize = (0..28).map(|_| window.overloaded(begun)).sum();
        assert_eq!((shrunk, window.size()), (14, 14));
    }

    #[test]
    fn it_never_closes_and_opens_again_by_one_for_each_windowful() {
        let mut window = Window::new(5);
        let sizes: Vec<usize> = (0..5)
            .map(|_| {
                window.overloaded(window.generation());
                window.size()
            })
            .collect();
        assert_eq!(sizes, [3, 2, 1, 1, 1]);
        let mut successes = 0;
        while !window.is_full() {
            window.went_well(window.generation());
            successes += 1;
        }
        assert_eq!(successes, 1 + 2 + 3 + 4);
        assert!(!window.went_well(window.generation()), "it does not grow beyond its most");
    }

    #[test]
    fn what_began_before_a_change_says_nothing_of_it() {
        let mut window = Window::new(4);
        let before = window.generation();
        window.overloaded(before);
        assert!((0..9).all(|_| !window.went_well(before)));
        assert_eq!(window.size(), 2);
    }
}
