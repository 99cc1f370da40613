//! What a node's reply means for the proxy: most are for the client, a few say where or when to
//! send the request again. None of those was executed (Redis Cluster specification, "MOVED
//! redirection" and "ASK redirection"; `getNodeByQuery` in the server).

use slotway_protocol::cluster::Redirect;
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
    ClusterDown,
    Loading,
    MasterDown,
    ReadOnly,
}

/// Judges the reply of the node at `origin`.
#[inline]
pub(crate) fn judge(reply: &[u8], origin: &Address) -> Verdict {
    if reply.first() == Some(&b'-') {
        judge_error(reply, origin)
    } else {
        Verdict::Deliver
    }
}

fn judge_error(reply: &[u8], origin: &Address) -> Verdict {
    let text = reply[1..].trim_ascii_end();
    let word = text.split(|byte| *byte == b' ').next().unwrap_or(text);
    match word {
        b"MOVED" | b"ASK" => match Redirect::parse(text, origin) {
            Some(Redirect::Moved { address, .. }) => Verdict::Moved(address),
            Some(Redirect::Ask { address, .. }) => Verdict::Ask(address),
            None => Verdict::Deliver,
        },
        b"TRYAGAIN" => Verdict::Later(Later::TryAgain),
        b"CLUSTERDOWN" => Verdict::Later(Later::ClusterDown),
        b"LOADING" => Verdict::Later(Later::Loading),
        b"MASTERDOWN" => Verdict::Later(Later::MasterDown),
        b"READONLY" => Verdict::Later(Later::ReadOnly),
        _ => Verdict::Deliver,
    }
}

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
        ] {
            assert_eq!(judge(reply.as_bytes(), &origin), verdict, "{reply}");
        }
    }
}
