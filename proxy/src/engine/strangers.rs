//! Whom a redirect may lead to: nodes of the topology, and hosts that the settings allow. A node
//! that was taken over, or speaks for another cluster, must not send requests just anywhere.

use slotway_protocol::engine::Address;

use super::Proxy;
use super::redirect::{Later, Verdict};

impl Proxy {
    /// Lets a verdict pass, but for a redirect to a stranger: nothing was done, and the topology
    /// may soon name the node. Until then its request waits, as long as any may.
    pub(super) fn screen(&self, verdict: Verdict) -> Verdict {
        match &verdict {
            Verdict::Moved(address) | Verdict::Ask(address) if !self.may_lead_to(address) => {
                self.stats.redirects_refused.inc();
                Verdict::Later(Later::Stranger)
            }
            _ => verdict,
        }
    }

    /// Whether requests may go to that address.
    fn may_lead_to(&self, address: &Address) -> bool {
        let allowed = &self.options.redirect_hosts;
        self.members.contains(address) || allowed.contains(&address.host)
    }
}
