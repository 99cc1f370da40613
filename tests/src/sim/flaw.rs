//! What may be wrong with the relay, for the simulation to notice.

use super::scenario::Scenario;
use super::story::Story;

/// What may be wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A write that was sent whole is sent again when its connection is lost.
    SendsAgain,
    /// A redirect is followed wherever it leads.
    FollowsAnywhere,
    /// A connection whose node was waited for too long serves the next request.
    KeepsLateConnection,
    /// What a node does not serve now is answered with its error.
    HoldsNothing,
    /// Forgets requests that a node did not serve.
    ForgetsRetry,
}

impl Flaw {
    pub const ALL: [Self; 5] = [
        Self::SendsAgain,
        Self::FollowsAnywhere,
        Self::KeepsLateConnection,
        Self::HoldsNothing,
        Self::ForgetsRetry,
    ];

    /// The scenario of a seed, one in which it can be found out.
    pub fn scenario(self, seed: u64) -> Scenario {
        let story = match self {
            Self::FollowsAnywhere => Story::Lying,
            _ => Story::Broken,
        };
        let mut scenario = Scenario::with_story(seed, story);
        match self {
            Self::SendsAgain => scenario.faults.backend_resets = 16,
            Self::KeepsLateConnection => scenario.faults.long_stalls = 6,
            _ => {}
        }
        scenario
    }
}
