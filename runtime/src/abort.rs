//! Ends the process when a panic passes by: tokio would catch it and leave a half-dead worker.

/// Aborts the process when it is dropped by a panic. The panic's own message and place are on
/// stderr by then.
pub(crate) struct AbortOnPanic(pub(crate) &'static str);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let thread = std::thread::current();
            tracing::error!(
                thread = thread.name().unwrap_or("unnamed"),
                place = self.0,
                "a panic ends the process: its engine's state can't be trusted any more"
            );
            std::process::abort();
        }
    }
}
