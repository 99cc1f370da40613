//! The settings of a node: what redis.conf, the command line and CONFIG SET say.

mod choices;
mod directive;
mod file;
#[cfg(test)]
mod guide;
mod kind;
mod rewrite;
mod sha256;
mod special;
mod stored;
mod table;
pub(crate) mod words;

use core::net::IpAddr;

use crate::cluster::ClusterConfig;

pub use choices::{
    AclPubsubDefault, AppendFsync, DisklessLoad, EndpointType, LogLevel, MaxmemoryPolicy, OnSignal,
    OomScoreAdj, Permission, PropagationError, SanitizeDumpPayload, Supervised, SyslogFacility,
    TlsAuthClients,
};
pub(crate) use directive::Directive;
pub use file::{FileError, Loader, Surroundings};
pub use kind::ConfigError;
pub use special::{OutputLimit, OutputLimits, SavePoint};
pub use table::Config;

/// All that a node needs to start.
#[derive(Debug, Clone, Default)]
pub struct NodeConfig {
    pub config: Config,
    /// `None` for a node that is not part of a cluster.
    pub cluster: Option<ClusterConfig>,
    /// For all that is left to chance: the same seed and the same input give the same output.
    pub seed: u64,
}

impl Config {
    /// Whether a client at that address may not connect, because nothing was done yet to protect
    /// the node. Naming other addresses than those by default in `bind` counts as consent, as it
    /// did up to version 6.2.
    pub(crate) fn is_protected_from(&self, client: IpAddr) -> bool {
        self.protected_mode
            && self.requirepass.is_empty()
            && !client.to_canonical().is_loopback()
            && self.bind == Self::default().bind
    }

    /// The one user, as a line of redis.conf says it after `user`.
    pub(crate) fn default_user(&self) -> String {
        if self.requirepass.is_empty() {
            return "default on nopass ~* &* +@all".to_owned();
        }
        let digest = sha256::hexadecimal(self.requirepass.as_bytes());
        format!("default on #{digest} ~* &* +@all")
    }

    /// Whether clients at other machines may connect without a password because of `bind` alone.
    pub fn is_open_by_bind(&self) -> bool {
        let is_loopback = |address: &String| {
            let address = address.strip_prefix('-').unwrap_or(address);
            address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        };
        self.protected_mode
            && self.requirepass.is_empty()
            && self.bind != Self::default().bind
            && !self.bind.iter().all(is_loopback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_let_in_once_somebody_said_so() {
        let outside = IpAddr::from([192, 168, 1, 10]);
        for (text, is_protected, is_open) in [
            ("", true, false),
            ("bind * -::*", true, false),
            ("protected-mode no", false, false),
            ("requirepass x", false, false),
            ("bind 0.0.0.0", false, true),
            ("bind 192.168.1.10", false, true),
            ("bind 127.0.0.1 -::1", false, false),
            ("bind 0.0.0.0\nrequirepass x", false, false),
        ] {
            let mut config = Config::default();
            config.apply_file(text).unwrap();
            assert_eq!(config.is_protected_from(outside), is_protected, "{text}");
            assert_eq!(config.is_open_by_bind(), is_open, "{text}");
            assert!(!config.is_protected_from(IpAddr::from([127, 0, 0, 1])));
        }
    }
}
