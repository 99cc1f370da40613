//! The end of a node: who has asked for it, in which way, and how far it is. The work is in
//! `engine/ending.rs`.

use core::time::Duration;

use slotway_protocol::engine::{Address, ConnectToken, ConnectionId, Instant};

use crate::config::OnSignal;

/// What is known of the end.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    pub(crate) stage: Stage,
    /// Somebody calls it off.
    pub(crate) is_aborted: bool,
    pub(crate) how: How,
    /// The clients that have sent SHUTDOWN; none for a signal.
    pub(crate) waiters: Vec<ConnectionId>,
    /// How far replicas have to be.
    pub(crate) offset: u64,
    pub(crate) handover: Option<Handover>,
    /// Replicas that could not take over.
    pub(crate) tried: Vec<Address>,
    /// Another node has the slots.
    pub(crate) has_handed_over: bool,
    /// When a client was last sent elsewhere.
    pub(crate) turned_away_at: Instant,
}

/// How the node is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct How {
    /// Whether all keys are saved; `None` leaves it to the save points.
    pub(crate) saves: Option<bool>,
    /// Without waiting for replicas.
    pub(crate) is_now: bool,
    /// Also when the keys can't be saved.
    pub(crate) is_forced: bool,
    /// A replica takes over first, whatever the settings say.
    pub(crate) hands_over: bool,
}

impl From<OnSignal> for How {
    fn from(flags: OnSignal) -> Self {
        let has = |flag| flags.contains(flag);
        Self {
            saves: (has(OnSignal::SAVE) || has(OnSignal::NOSAVE)).then(|| has(OnSignal::SAVE)),
            is_now: has(OnSignal::NOW),
            is_forced: has(OnSignal::FORCE),
            hands_over: has(OnSignal::FAILOVER),
        }
    }
}

/// How far the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stage {
    /// Nobody has asked for it.
    #[default]
    None,
    /// It is to begin at the end of the turn.
    Wished,
    /// Writes wait, until the replicas have all there is or one has taken over.
    Waiting { until: Instant },
    /// All keys are being saved.
    Saving,
    /// Clients are sent elsewhere, until they know.
    Parting { began: Instant, quiet: Quiet },
    /// Connections are closed once their replies are written.
    Closing { until: Instant },
    /// The driver was told to stop.
    Over,
}

/// Why clients are sent elsewhere, which says how long that may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quiet {
    /// Another node has the slots.
    Moved,
    /// None has, but one may soon.
    Refused,
}

/// A replica that is being asked to take over.
#[derive(Debug)]
pub(crate) struct Handover {
    pub(crate) address: Address,
    pub(crate) token: ConnectToken,
    /// On which it is asked.
    pub(crate) connection: Option<ConnectionId>,
    /// How many replies are to come before that to CLUSTER FAILOVER.
    pub(crate) preludes: u8,
    pub(crate) until: Instant,
}

impl Ending {
    #[inline]
    pub(crate) fn is_begun(&self) -> bool {
        self.stage != Stage::None
    }

    /// Asks for the end; without effect once somebody has.
    pub(crate) fn wish(&mut self, how: How) {
        if !self.is_begun() {
            self.stage = Stage::Wished;
            self.how = how;
        }
    }

    /// Calls it off at the end of the turn; whether that is possible.
    pub(crate) fn abort(&mut self) -> bool {
        let is_possible = !matches!(
            self.stage,
            Stage::None | Stage::Closing { .. } | Stage::Over
        );
        self.is_aborted |= is_possible;
        is_possible
    }

    /// Whether clients are being sent elsewhere.
    pub(crate) fn turns_away(&self) -> bool {
        matches!(self.stage, Stage::Saving | Stage::Parting { .. })
    }

    /// When there is something to be done, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::None | Stage::Wished | Stage::Saving | Stage::Over => None,
            Stage::Waiting { until } => {
                let handover = self.handover.as_ref().map(|handover| handover.until);
                Some(handover.map_or(until, |other| other.min(until)))
            }
            Stage::Parting { began, quiet } => {
                let last = self.turned_away_at.max(began);
                Some((last + quiet.least()).min(began + quiet.most()))
            }
            Stage::Closing { until } => Some(until),
        }
    }
}

impl Quiet {
    /// How long nobody has to have been sent elsewhere.
    fn least(self) -> Duration {
        match self {
            Self::Moved => Duration::from_millis(50),
            Self::Refused => Duration::from_millis(10),
        }
    }

    /// How long that is waited for at most.
    fn most(self) -> Duration {
        match self {
            Self::Moved => Duration::from_millis(500),
            Self::Refused => Duration::from_millis(50),
        }
    }
}
