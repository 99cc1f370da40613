//! Ends the process after a panic that can't be recovered from: tokio would catch it and leave a
//! half-dead worker.

use crate::panics;

/// Aborts the process when it is dropped by a panic.
pub(crate) struct AbortOnPanic(pub(crate) &'static str);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            abort(self.0);
        }
    }
}

/// Ends the process at once, for the panic that has just passed on this thread.
pub(crate) fn abort(place: &str) -> ! {
    let thread = std::thread::current();
    tracing::error!(
        thread = thread.name().unwrap_or("unnamed"),
        place,
        panic = panics::last(),
        "a panic ends the process: its engine's state can't be trusted any more"
    );
    std::process::abort();
}
