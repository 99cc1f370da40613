//! What a node knows of its contact with another one: when it last heard of it, over which
//! connections, and who else holds it to be down.

use std::collections::BTreeMap;
use std::time::Duration;

use slotway_protocol::engine::Instant;

use super::links::LinkId;

/// A node's contact with another one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contact {
    pub(crate) created: Instant,
    /// A ping that waits for its pong.
    pub(crate) ping_sent: Option<Instant>,
    pub(crate) pong_received: Option<Instant>,
    /// When anything came from it last.
    pub(crate) data_received: Option<Instant>,
    pub(crate) failed_at: Option<Instant>,
    /// The connection that this node has opened, or is opening.
    pub(crate) link: Option<LinkId>,
    /// That connection is open.
    pub(crate) is_linked: bool,
    /// The connection that the other node has opened.
    pub(crate) inbound: Option<LinkId>,
    /// How far its stream of writes has come, as it says.
    pub(crate) offset: u64,
    /// For which replica of it this node last voted, and when.
    pub(crate) voted: Option<(String, Instant)>,
    /// Since when it has no working replica any more.
    pub(crate) orphaned_at: Option<Instant>,
    /// When its bus port was last found closed.
    pub(crate) refused_at: Option<Instant>,
    /// Primaries that hold it to be down, and when they last said so.
    reports: BTreeMap<String, Instant>,
}

impl Contact {
    /// Notes that a primary holds it to be down; whether that is news.
    pub(super) fn report(&mut self, reporter: &str, now: Instant) -> bool {
        match self.reports.get_mut(reporter) {
            Some(reported) => {
                *reported = now;
                false
            }
            None => self.reports.insert(reporter.to_owned(), now).is_none(),
        }
    }

    /// Notes that a node does not hold it to be down any more; whether that is news.
    pub(super) fn withdraw(&mut self, reporter: &str) -> bool {
        self.reports.remove(reporter).is_some()
    }

    /// How many hold it to be down and have said so lately.
    pub(crate) fn reports(&self, now: Instant, age_max: Duration) -> usize {
        let reports = self.reports.values();
        reports
            .filter(|reported| now.since(**reported) <= age_max)
            .count()
    }
}
