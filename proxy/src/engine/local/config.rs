//! `CONFIG`: the proxy's own settings.

use slotway_protocol::resp::{Protocol, Request, encode};

/// The proxy's own settings under the names that redis-benchmark and clients ask for.
pub(super) fn config_get(request: &Request<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    let asked = |name: &str| {
        request
            .args(2)
            .any(|pattern| pattern.eq_ignore_ascii_case(name.as_bytes()))
    };
    let known: Vec<_> = CONFIG.iter().filter(|(name, _)| asked(name)).collect();
    encode::map(out, protocol, known.len());
    for (name, value) in known {
        encode::bulk(out, name.as_bytes());
        encode::bulk(out, value.as_bytes());
    }
}

/// Setting names of redis-server that are true of the proxy: it stores nothing.
const CONFIG: [(&str, &str); 3] = [("save", ""), ("appendonly", "no"), ("databases", "1")];
