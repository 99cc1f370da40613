//! How a node is, as far as it matters for reads: what it says of itself in `INFO replication`, how
//! far a replica is behind its primary, and whether it may serve. It asks nobody by itself.

use core::time::Duration;
use std::collections::VecDeque;

use slotway_protocol::engine::Instant;
use slotway_protocol::resp::value::{Token, TokenReader};

use super::ReadOptions;

/// Whether a node may serve reads, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fitness {
    Fit,
    /// It has not said anything yet.
    #[default]
    Unknown,
    /// It reads its data, from a file or from its primary.
    Loading,
    /// It has lost its primary, which lives.
    LinkDown,
    /// It is too far behind its primary.
    Lagging,
    /// A script keeps it busy, or to it the cluster is down.
    Refusing,
    /// It owes an answer.
    Silent,
    /// It can't be reached, or the connection was lost.
    Unreachable,
}

impl Fitness {
    pub(crate) const COUNT: usize = 8;

    /// With their names as metrics have them.
    pub(crate) const ALL: [(Self, &str); Self::COUNT] = [
        (Self::Fit, "fit"),
        (Self::Unknown, "unknown"),
        (Self::Loading, "loading"),
        (Self::LinkDown, "link_down"),
        (Self::Lagging, "lagging"),
        (Self::Refusing, "refusing"),
        (Self::Silent, "silent"),
        (Self::Unreachable, "unreachable"),
    ];

    /// What an error reply says of the node; `None` if it says nothing of that kind.
    pub(crate) fn of_error(reply: &[u8]) -> Option<Self> {
        let word = reply.split(|byte| byte.is_ascii_whitespace()).next();
        Some(match word? {
            b"-LOADING" => Self::Loading,
            b"-MASTERDOWN" => Self::LinkDown,
            b"-BUSY" | b"-CLUSTERDOWN" => Self::Refusing,
            _ => return None,
        })
    }
}

/// What is known of one node.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) fitness: Fitness,
    /// Since when it owes an answer on how it is.
    pub(crate) asked: Option<Instant>,
    /// The number of that question: an answer to an earlier one is about another time.
    pub(crate) question: u32,
    /// In which round it was asked last.
    pub(crate) round: u64,
    /// What it said instead of serving.
    pub(crate) refusal: Option<Fitness>,
    report: Option<Report>,
    /// As a primary: how far its stream of changes had come at which time.
    samples: Samples,
    /// As a replica: it has all that had been answered at its primary before that time.
    pub(crate) current_to: Option<Instant>,
    /// Some of its slots are on their way to another shard, or from there, until then at least.
    pub(crate) moving_until: Instant,
}

/// What a node says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    is_primary: bool,
    link_is_up: bool,
    is_syncing: bool,
    /// How many bytes of the stream of changes it has.
    offset: u64,
}

impl Report {
    pub(crate) fn is_primary(&self) -> bool {
        self.is_primary
    }

    /// Reads the reply to `INFO replication`.
    pub(crate) fn parse(reply: &[u8]) -> Option<Self> {
        let (Token::Bulk(text) | Token::Verbatim(text)) =
            TokenReader::new(reply).next_token().ok()??
        else {
            return None;
        };
        let text = core::str::from_utf8(text).ok()?;
        let value = |name: &str| {
            let mut fields = text.lines().filter_map(|line| line.split_once(':'));
            fields
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value)
        };
        let is_primary = match value("role")? {
            "master" => true,
            "slave" => false,
            _ => return None,
        };
        let offset = if is_primary {
            "master_repl_offset"
        } else {
            "slave_repl_offset"
        };
        Some(Self {
            is_primary,
            link_is_up: value("master_link_status") == Some("up"),
            is_syncing: value("master_sync_in_progress") == Some("1"),
            // While it begins anew a replica says -1.
            offset: value(offset)?.parse().unwrap_or(0),
        })
    }
}

impl Node {
    /// The node is the primary of its shard and has answered a question of that time.
    pub(crate) fn take_sample(&mut self, report: Report, asked: Instant, lag_max: Duration) {
        self.samples.add(asked, report.offset, lag_max);
    }

    /// Whether it is known how far it has come, as a primary.
    pub(crate) fn has_samples(&self) -> bool {
        !self.samples.0.is_empty()
    }

    /// The node is a replica of the other one and has said how it is.
    pub(crate) fn take_report(&mut self, report: Report, primary: &Self) {
        self.report = Some(report);
        self.current_to = primary
            .samples
            .current_to(report.offset)
            .max(self.current_to);
    }

    /// For how long a replica has lacked something that its primary had; at least so long, where
    /// the primary has had it for longer than is known.
    pub(crate) fn lag(&self, primary: &Self) -> Option<Duration> {
        let report = self.report.filter(|report| !report.is_primary)?;
        let (time, _) = primary.samples.lag(report.offset);
        Some(time.min(primary.samples.span()))
    }

    /// How a replica is, by what it and its primary have said last.
    pub(crate) fn judge(&self, primary: &Self, options: &ReadOptions) -> Fitness {
        if let Some(refusal) = self.refusal {
            return refusal;
        }
        let Some(report) = self.report else {
            return Fitness::Unknown;
        };
        if report.is_primary {
            // The topology does not know yet that it was promoted.
            return Fitness::Fit;
        }
        if report.is_syncing {
            return Fitness::Loading;
        }
        // Where the primary is gone nothing is written: what a replica had then is all there is.
        let is_alone = matches!(primary.fitness, Fitness::Silent | Fitness::Unreachable);
        if !report.link_is_up && !is_alone {
            return Fitness::LinkDown;
        }
        let (time, bytes) = primary.samples.lag(report.offset);
        let exceeds_time = !options.lag_max.is_zero() && time > options.lag_max;
        let exceeds_bytes = options.lag_bytes_max > 0 && bytes > options.lag_bytes_max;
        if exceeds_time || exceeds_bytes {
            Fitness::Lagging
        } else {
            Fitness::Fit
        }
    }
}

/// How far a primary's stream had come at some times, in their order. The times are those of the
/// questions: what was answered before has its place in the stream before the offset.
#[derive(Debug, Default)]
struct Samples(VecDeque<(Instant, u64)>);

impl Samples {
    fn add(&mut self, at: Instant, offset: u64, lag_max: Duration) {
        if self.0.back().is_some_and(|(_, last)| *last > offset) {
            // It has restarted, and counts anew.
            self.0.clear();
        }
        self.0.push_back((at, offset));
        // One that is older than any lag that is allowed tells that there is too much of it.
        let kept = lag_max * 2 + SAMPLES_KEPT;
        let is_old = |first: &mut (Instant, u64)| at.since(first.0) > kept;
        while self.0.pop_front_if(is_old).is_some() {}
    }

    /// How far behind somebody is who has got so far: for how long the primary has had, when it was
    /// asked last, what he has not; and how many bytes that is.
    fn lag(&self, offset: u64) -> (Duration, u64) {
        let Some((last, newest)) = self.0.back() else {
            return (Duration::ZERO, 0);
        };
        let time = match self.had(offset) {
            // Longer than anything that is known.
            0 => Duration::MAX,
            had => (self.0.get(had)).map_or(Duration::ZERO, |(first, _)| last.since(*first)),
        };
        (time, newest.saturating_sub(offset))
    }

    /// From the first to the last.
    fn span(&self) -> Duration {
        let ends = self.0.front().zip(self.0.back());
        ends.map_or(Duration::ZERO, |((first, _), (last, _))| last.since(*first))
    }

    /// The last time before which he lacks nothing.
    fn current_to(&self, offset: u64) -> Option<Instant> {
        let last = self.had(offset).checked_sub(1)?;
        self.0.get(last).map(|(at, _)| *at)
    }

    /// How many of the samples somebody has reached who has got so far.
    fn had(&self, offset: u64) -> usize {
        self.0.partition_point(|(_, known)| *known <= offset)
    }
}

/// How long samples are kept at least.
const SAMPLES_KEPT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn info(text: &str) -> Vec<u8> {
        let text = text.replace('\n', "\r\n");
        format!("${}\r\n{text}\r\n", text.len()).into_bytes()
    }

    fn replica(link_is_up: bool, offset: u64) -> Report {
        Report {
            is_primary: false,
            link_is_up,
            is_syncing: false,
            offset,
        }
    }

    fn primary(offset: u64) -> Report {
        Report {
            is_primary: true,
            ..replica(false, offset)
        }
    }

    /// A primary that was asked twice a second and had 100 bytes more each time.
    fn busy_primary(seconds: u64) -> Node {
        let mut node = Node {
            fitness: Fitness::Fit,
            ..Node::default()
        };
        for half in 0..=2 * seconds {
            let lag_max = ReadOptions::default().lag_max;
            node.take_sample(primary(half * 100), at(half * 500), lag_max);
        }
        node
    }

    /// As redis-server 7.0.15 says it.
    #[test]
    fn reads_what_nodes_say() {
        let text = "# Replication\nrole:slave\nmaster_host:127.0.0.1\nmaster_port:16001\n\
                    master_link_status:up\nmaster_last_io_seconds_ago:5\n\
                    master_sync_in_progress:0\nslave_read_repl_offset:70\nslave_repl_offset:56\n\
                    slave_priority:100\nmaster_repl_offset:56\n";
        assert_eq!(Report::parse(&info(text)), Some(replica(true, 56)));
        let down = text.replace(":up", ":down").replace(":56", ":-1");
        assert_eq!(Report::parse(&info(&down)), Some(replica(false, 0)));
        let syncing = text.replace("progress:0", "progress:1");
        assert!(Report::parse(&info(&syncing)).unwrap().is_syncing);
        let text = "# Replication\nrole:master\nconnected_slaves:0\nmaster_repl_offset:42\n";
        assert_eq!(Report::parse(&info(text)), Some(primary(42)));
        let verbatim = format!("={}\r\ntxt:{text}\r\n", text.len() + 4);
        assert_eq!(Report::parse(verbatim.as_bytes()), Some(primary(42)));
        for strange in ["", "role:sentinel\n", "role:master\n", "role:slave\n"] {
            assert_eq!(Report::parse(&info(strange)), None, "{strange}");
        }
        assert_eq!(Report::parse(b"-NOPERM x\r\n"), None);
    }

    #[test]
    fn a_replica_is_judged_by_what_it_lacks() {
        let options = ReadOptions::default();
        let lives = busy_primary(60);
        let mut gone = busy_primary(60);
        gone.fitness = Fitness::Unreachable;
        let loading = Report {
            is_syncing: true,
            ..replica(false, 12_000)
        };
        for (report, of, expected) in [
            (replica(true, 12_000), &lives, Fitness::Fit),
            // It has not got what the primary had one second ago, but all that it had before.
            (replica(true, 11_700), &lives, Fitness::Fit),
            (replica(true, 11_699), &lives, Fitness::Lagging),
            (replica(true, 0), &lives, Fitness::Lagging),
            (replica(false, 12_000), &lives, Fitness::LinkDown),
            (replica(false, 12_000), &gone, Fitness::Fit),
            (replica(false, 11_699), &gone, Fitness::Lagging),
            (loading, &gone, Fitness::Loading),
            (primary(0), &gone, Fitness::Fit),
        ] {
            let mut node = Node::default();
            assert_eq!(node.judge(of, &options), Fitness::Unknown);
            node.take_report(report, of);
            assert_eq!(node.judge(of, &options), expected, "{report:?}");
            node.refusal = Some(Fitness::Refusing);
            assert_eq!(node.judge(of, &options), Fitness::Refusing);
        }
    }

    #[test]
    fn limits_are_in_bytes_too_and_can_be_off() {
        let lives = busy_primary(60);
        let mut node = Node::default();
        node.take_report(replica(true, 11_000), &lives);
        let mut options = ReadOptions {
            lag_max: Duration::ZERO,
            ..ReadOptions::default()
        };
        assert_eq!(node.judge(&lives, &options), Fitness::Fit);
        options.lag_bytes_max = 1000;
        assert_eq!(node.judge(&lives, &options), Fitness::Fit);
        options.lag_bytes_max = 999;
        assert_eq!(node.judge(&lives, &options), Fitness::Lagging);
    }

    #[test]
    fn a_replica_is_current_to_the_last_sample_that_it_has_reached() {
        let mut lives = busy_primary(60);
        assert!(lives.samples.0.len() <= 16, "{}", lives.samples.0.len());
        let mut node = Node::default();
        node.take_report(replica(true, 11_950), &lives);
        assert_eq!(node.current_to, Some(at(59_500)));
        node.take_report(replica(true, 12_000), &lives);
        assert_eq!(node.current_to, Some(at(60_000)));
        assert_eq!(node.lag(&lives), Some(Duration::ZERO));
        node.take_report(replica(true, 11_750), &lives);
        assert_eq!(node.lag(&lives), Some(Duration::from_millis(1_000)));
        node.take_report(replica(true, 1), &lives);
        let known = lives.samples.span();
        assert!(known >= Duration::from_secs(5), "{known:?}");
        assert_eq!(node.lag(&lives), Some(known), "or longer");
        assert_eq!(Node::default().lag(&lives), None);
        // The primary begins anew. How long it has had what it has nobody knows.
        lives.take_sample(primary(7), at(61_000), Duration::ZERO);
        assert_eq!(lives.samples.lag(6), (Duration::MAX, 1));
        assert_eq!(lives.samples.lag(7), (Duration::ZERO, 0));
    }

    #[test]
    fn errors_tell_how_a_node_is() {
        for (reply, expected) in [
            ("-LOADING Redis is loading\r\n", Some(Fitness::Loading)),
            ("-MASTERDOWN Link\r\n", Some(Fitness::LinkDown)),
            ("-BUSY Redis is busy\r\n", Some(Fitness::Refusing)),
            ("-CLUSTERDOWN The\r\n", Some(Fitness::Refusing)),
            ("-ERR LOADING\r\n", None),
            ("-BUSYGROUP x\r\n", None),
            ("-", None),
        ] {
            assert_eq!(Fitness::of_error(reply.as_bytes()), expected, "{reply}");
        }
    }

    #[test]
    fn states_stand_in_the_order_of_their_numbers() {
        for (index, (fitness, _)) in Fitness::ALL.iter().enumerate() {
            assert_eq!(*fitness as usize, index);
        }
    }
}
