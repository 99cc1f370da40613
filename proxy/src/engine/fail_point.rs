//! Where the tests interrupt the engine: a panic in the middle of what takes several steps. In the
//! programs there is nothing here.

/// A place at which the test that is under way may panic.
#[cfg(not(test))]
#[inline(always)]
pub(super) fn pass() {}

#[cfg(test)]
pub(super) use armed::pass;

#[cfg(test)]
pub(super) mod armed {
    use core::cell::Cell;

    thread_local! {
        /// How many fail points are passed before one panics.
        static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    /// The fail point after so many more panics.
    pub(in crate::engine) fn arm(left: u32) {
        LEFT.set(Some(left));
    }

    /// None panics. Says whether one would still have.
    pub(in crate::engine) fn disarm() -> bool {
        LEFT.take().is_some()
    }

    #[inline]
    pub(in crate::engine) fn pass() {
        match LEFT.get() {
            None => {}
            Some(0) => {
                LEFT.set(None);
                // As a panic, but without a word.
                std::panic::resume_unwind(Box::new("interrupted"));
            }
            Some(left) => LEFT.set(Some(left - 1)),
        }
    }
}
