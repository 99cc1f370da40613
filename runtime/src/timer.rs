//! The one timer of a driver: sleeps until the engine's next timeout.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use slotway_protocol::engine::{Engine, Instant, Interrupted};
use tokio::time::Sleep;

use crate::abort::AbortOnPanic;
use crate::driver::Driver;

/// Calls the engine's `handle_timeout`. Woken by the driver only when a timeout becomes earlier;
/// one that becomes later or is gone lets it wake up once for nothing.
pub(crate) struct Timer<E: Engine> {
    driver: Rc<Driver<E>>,
    sleep: Pin<Box<Sleep>>,
}

impl<E: Engine + 'static> Timer<E> {
    pub(crate) fn new(driver: Rc<Driver<E>>) -> Self {
        Self {
            driver,
            sleep: Box::pin(tokio::time::sleep(std::time::Duration::ZERO)),
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let driver = Rc::clone(&self.driver);
        let mut fired = false;
        loop {
            if driver.is_stopped() {
                return Poll::Ready(());
            }
            let Some(due) = driver.next_timeout() else {
                driver.set_armed(None);
                return Poll::Pending;
            };
            if due <= driver.now().instant {
                if fired {
                    // The engine is behind, or names the past for ever: let others run first.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                fired = true;
                // Nothing is earlier than this, so that the call arms nothing by itself.
                driver.set_armed(Some(Instant::from_micros(0)));
                driver.call(Interrupted::Other, E::handle_timeout);
                continue;
            }
            driver.set_armed(Some(due));
            self.sleep.as_mut().reset(driver.deadline(due));
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl<E: Engine + 'static> Future for Timer<E> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _abort = AbortOnPanic("timer");
        let this = self.get_mut();
        this.driver.set_timer_waker(cx.waker());
        this.drive(cx)
    }
}
