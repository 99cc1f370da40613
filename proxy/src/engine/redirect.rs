//! What a node's reply means for the proxy: most are for the client, a few say where or when to
//! send the request again. None of those was executed (Redis Cluster specification, "MOVED
//! redirection" and "ASK redirection"; `getNodeByQuery` in the server).

use slotway_protocol::cluster::{Redirect, Slot};
use slotway_protocol::engine::Address;

/// What to do with a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Give it to the client.
    Deliver,
    /// The slot lives elsewhere.
    Moved(Address),
    /// This request goes elsewhere, behind an ASKING.
    Ask(Address),
    /// Nothing was done; try again a little later.
    Later(Later),
}

/// Why a node could not serve a request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Later {
    TryAgain,
    /// The node serves nobody, because it misses a part of its cluster.
    NodeDown,
    /// It does not serve this slot, or no writes.
    ClusterDown,
    Loading,
    MasterDown,
    ReadOnly,
    /// It sent us to a node that nobody knows, where we do not go.
    Stranger,
}

impl Later {
    /// In the order of the reasons.
    pub(crate) const NAMES: [&str; 7] = [
        "tryagain",
        "node_down",
        "clusterdown",
        "loading",
        "masterdown",
        "readonly",
        "stranger",
    ];

    /// Whether the node would say so to any request.
    pub(crate) fn is_of_node(self) -> bool {
        matches!(self, Self::NodeDown | Self::Loading | Self::MasterDown)
    }
}

/// Whether a reply to a request that was sent once says that nothing was done and that it may be
/// sent again: a redirect, "not now", or that no node could be reached.
pub(crate) fn was_not_run(reply: &[u8]) -> bool {
    const WORDS: [&[u8]; 8] = [
        b"-MOVED ",
        b"-ASK ",
        b"-TRYAGAIN ",
        b"-CLUSTERDOWN ",
        b"-LOADING ",
        b"-MASTERDOWN ",
        b"-READONLY ",
        // The node ended the wait because it is the slot's owner no more.
        b"-UNBLOCKED force unblock",
    ];
    WORDS.iter().any(|word| reply.starts_with(word))
}

/// Judges the reply of the node at `origin` to a request for `slot`. A script may return any error
/// text it likes, after any number of writes, so of scripts only a server's own words count.
#[inline]
pub(crate) fn judge(reply: &[u8], origin: &Address, slot: Slot, is_script: bool) -> Verdict {
    if reply.first() == Some(&b'-') {
        judge_error(reply, origin, slot, is_script)
    } else {
        Verdict::Deliver
    }
}

fn judge_error(reply: &[u8], origin: &Address, slot: Slot, is_script: bool) -> Verdict {
    let text = reply[1..].trim_ascii_end();
    let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
    let later = |reason| {
        if is_script && !OWN_WORDS.contains(&text) {
            Verdict::Deliver
        } else {
            Verdict::Later(reason)
        }
    };
    match word {
        b"MOVED" | b"ASK" => match Redirect::parse(text, origin) {
            Some(Redirect::Moved {
                slot: moved,
                address,
            }) if moved == slot => Verdict::Moved(address),
            Some(Redirect::Ask {
                slot: asked,
                address,
            }) if asked == slot => Verdict::Ask(address),
            _ => Verdict::Deliver,
        },
        b"TRYAGAIN" => later(Later::TryAgain),
        b"CLUSTERDOWN" if text == b"CLUSTERDOWN The cluster is down" => later(Later::NodeDown),
        b"CLUSTERDOWN" => later(Later::ClusterDown),
        b"LOADING" => later(Later::Loading),
        b"MASTERDOWN" => later(Later::MasterDown),
        b"READONLY" => later(Later::ReadOnly),
        _ => Verdict::Deliver,
    }
}

/// What redis-server 7.0 says, word for word.
const OWN_WORDS: [&[u8]; 7] = [
    b"TRYAGAIN Multiple keys request during rehashing of slot",
    b"CLUSTERDOWN The cluster is down",
    b"CLUSTERDOWN The cluster is down and only accepts read commands",
    b"CLUSTERDOWN Hash slot not served",
    b"LOADING Redis is loading the dataset in memory",
    b"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    b"READONLY You can't write against a read only replica.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_redirects_from_replies() {
        let origin = Address::new("a", 1);
        let there = Address::new("b", 2);
        for (reply, verdict) in [
            ("$1\r\na\r\n", Verdict::Deliver),
            ("-ERR MOVED 1 b:2\r\n", Verdict::Deliver),
            ("-MOVED 1 b:2\r\n", Verdict::Moved(there.clone())),
            ("-ASK 1 b:2\r\n", Verdict::Ask(there)),
            ("-MOVED nowhere\r\n", Verdict::Deliver),
            ("-MOVED 2 b:2\r\n", Verdict::Deliver),
            ("-ASK 2 b:2\r\n", Verdict::Deliver),
            (
                "-TRYAGAIN Multiple keys request\r\n",
                Verdict::Later(Later::TryAgain),
            ),
            (
                "-CLUSTERDOWN Hash slot not served\r\n",
                Verdict::Later(Later::ClusterDown),
            ),
            (
                "-LOADING Redis is loading\r\n",
                Verdict::Later(Later::Loading),
            ),
            ("-MASTERDOWN Link\r\n", Verdict::Later(Later::MasterDown)),
            (
                "-CLUSTERDOWN The cluster is down\r\n",
                Verdict::Later(Later::NodeDown),
            ),
        ] {
            let slot = Slot::new(1).unwrap();
            assert_eq!(
                judge(reply.as_bytes(), &origin, slot, false),
                verdict,
                "{reply}"
            );
        }
    }

    #[test]
    fn a_script_has_to_use_the_servers_own_words() {
        let origin = Address::new("a", 1);
        let slot = Slot::new(1).unwrap();
        for text in OWN_WORDS {
            let reply = [b"-", text, b"\r\n"].concat();
            let verdict = judge(&reply, &origin, slot, true);
            assert!(matches!(verdict, Verdict::Later(_)), "{verdict:?}");
        }
        let invented = judge(b"-TRYAGAIN x\r\n", &origin, slot, true);
        assert_eq!(invented, Verdict::Deliver);
    }
}
