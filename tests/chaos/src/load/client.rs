//! One client: sends at its own rate, keeps a few operations under way, and connects again when its
//! connection is lost.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Run;
use super::connection::{Wire, connect};
use super::plan::{Planner, Work};
use super::settling::Settling;
use crate::resp::Reply;

/// A client that could not send for longer than this does not make up for it.
const BURST: Duration = Duration::from_millis(20);
/// However long nothing is to do, a client looks whether the run is over.
const LOOK: Duration = Duration::from_millis(50);
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Client {
    run: Rc<Run>,
    target: String,
    planner: Planner,
    settling: Settling,
    pending: VecDeque<Pending>,
    interval: Duration,
    next: Instant,
}

/// An operation under way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) work: Work,
    pub(super) start: u64,
    /// The replies to a transaction's requests that have come.
    pub(super) replies: Vec<Reply>,
}

impl Client {
    pub(super) fn new(run: &Rc<Run>, number: u16) -> Self {
        let arguments = &run.arguments;
        let interval = if arguments.rate > 0.0 {
            Duration::from_secs_f64(f64::from(arguments.clients) / arguments.rate)
        } else {
            Duration::ZERO
        };
        let targets = &arguments.targets;
        let planner = Planner::new(run, number);
        Self {
            run: Rc::clone(run),
            target: targets[usize::from(number) % targets.len()].clone(),
            settling: Settling::new(run, number, planner.shard),
            planner,
            pending: VecDeque::new(),
            interval,
            // Not all in the same moment.
            next: Instant::now()
                + interval.mul_f64(f64::from(number) / f64::from(arguments.clients)),
        }
    }

    /// Until the run is stopped and everything has been answered.
    pub(super) async fn run(mut self) {
        while !self.run.stopped.get() {
            match connect(&self.target).await {
                Ok(stream) => {
                    let mut wire = Wire::new(stream);
                    let ended = self.talk(&mut wire).await;
                    if let Err(why) = ended {
                        self.lose(&why);
                    }
                }
                Err(why) => self.run.figures.borrow_mut().note_unconnected(&why),
            }
            if !self.run.arguments.reconnect {
                break;
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
        self.settling.finish();
    }

    /// Until the run is stopped and everything has been answered, or the connection is lost.
    async fn talk(&mut self, wire: &mut Wire) -> io::Result<()> {
        loop {
            let stopped = self.run.stopped.get();
            if stopped && self.pending.is_empty() {
                return Ok(());
            }
            let now = Instant::now();
            if !stopped {
                self.send_due(wire, now);
            }
            wire.write()?;
            let full = stopped || self.pending.len() >= self.run.arguments.depth;
            let until = if full {
                now + LOOK
            } else {
                self.next.min(now + LOOK)
            };
            let turned = wire.turn(until).await;
            while let Some(reply) = wire.reply()? {
                self.take(reply)?;
            }
            turned?;
            self.check_patience()?;
        }
    }

    fn send_due(&mut self, wire: &mut Wire, now: Instant) {
        self.next = self.next.max(now.checked_sub(BURST).unwrap_or(now));
        while self.next <= now && self.pending.len() < self.run.arguments.depth {
            let start = self.run.clock.now();
            let work = self.planner.next(&mut wire.output);
            self.pending.push_back(Pending {
                work,
                start,
                replies: Vec::new(),
            });
            self.next += self.interval;
            if self.interval.is_zero() {
                self.next = now;
            }
        }
    }

    fn take(&mut self, reply: Reply) -> io::Result<()> {
        let front = self.pending.front_mut();
        let front = front.ok_or_else(|| io::Error::other(format!("unasked: {reply:?}")))?;
        front.replies.push(reply);
        if front.replies.len() == front.work.replies()
            && let Some(done) = self.pending.pop_front()
        {
            self.settling.settle(done, &mut self.planner);
        }
        Ok(())
    }

    /// Gives the connection up when a reply takes too long.
    fn check_patience(&self) -> io::Result<()> {
        let waited = |pending: &Pending| self.run.clock.now().saturating_sub(pending.start);
        let longest = Duration::from_nanos(self.pending.front().map_or(0, waited));
        if longest > self.run.arguments.timeout {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no reply in time"));
        }
        Ok(())
    }

    fn lose(&mut self, why: &io::Error) {
        self.run
            .figures
            .borrow_mut()
            .note_lost(self.run.clock.now(), why);
        for lost in std::mem::take(&mut self.pending) {
            self.settling.lose(lost, why);
        }
    }
}
