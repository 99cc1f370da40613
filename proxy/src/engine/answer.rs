//! The error texts that the proxy writes itself. Those that redis-server also has are its own,
//! byte for byte; the others begin with `ERR proxy:` or name the state that Redis Cluster names.

use core::time::Duration;

/// Keys of one request belong to different slots.
pub(crate) const CROSS_SLOT: &[u8] = b"CROSSSLOT Keys in request don't hash to the same slot";

/// No node owns the slot.
pub(crate) const SLOT_NOT_SERVED: &[u8] = b"CLUSTERDOWN Hash slot not served";

/// A command about the cluster, sent to what looks like a single server.
pub(crate) const NO_CLUSTER: &[u8] = b"ERR This instance has cluster support disabled";

/// The connection broke after a request that changes data was sent.
pub(crate) const RESULT_UNKNOWN: &[u8] =
    b"ERR proxy: connection lost after sending, result unknown";

/// The node's queue in the proxy is full.
pub(crate) const QUEUE_FULL: &[u8] =
    b"ERR proxy: too much waits for this node (backend_queue_bytes_max, \
      backend_queue_requests_max)";

pub(crate) const NOT_LOGGED_IN: &[u8] = b"NOAUTH Authentication required.";

/// Memory is scarce, and the node has much to do.
pub(crate) const OUT_OF_MEMORY: &[u8] =
    b"OOM proxy: too much is under way for the memory that there is (memory_bytes_max)";

/// The connection that a client has for itself is gone, and with it what was to be sent on it.
pub(crate) const PRIVATE_LOST: &[u8] = b"CLUSTERDOWN proxy lost the connection to the node";

pub(crate) const MULTI_NESTED: &[u8] = b"ERR MULTI calls can not be nested";
pub(crate) const WATCH_INSIDE: &[u8] = b"ERR WATCH inside MULTI is not allowed";
pub(crate) const EXEC_WITHOUT_MULTI: &[u8] = b"ERR EXEC without MULTI";
pub(crate) const DISCARD_WITHOUT_MULTI: &[u8] = b"ERR DISCARD without MULTI";
pub(crate) const EXEC_ABORTED: &[u8] =
    b"EXECABORT Transaction discarded because of previous errors.";
pub(crate) const NOT_IN_TRANSACTION: &[u8] = b"ERR Command not allowed inside a transaction";

/// What is queued leaves as one block, on a connection that is in one database.
pub(crate) const SELECT_INSIDE: &[u8] =
    b"ERR proxy: another database can't be selected in a transaction; SELECT before MULTI";

/// Too much was queued between MULTI and EXEC.
pub(crate) const TRANSACTION_FULL: &[u8] =
    b"ERR proxy: the transaction is too large (transaction_bytes_max)";

pub(crate) const SYNTAX: &[u8] = b"ERR syntax error";

/// CLIENT UNBLOCK was called with ERROR.
pub(crate) const UNBLOCKED: &[u8] = b"UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// Too many clients need a connection to a node for themselves.
pub(crate) const PRIVATES_FULL: &[u8] =
    b"ERR proxy: too many clients block or watch keys (private_connections_max)";

/// Too much waits for slots that are moving or down.
pub(crate) const HOLD_FULL: &[u8] =
    b"CLUSTERDOWN proxy: too much waits for slots that are not served (hold_bytes_max, \
      hold_requests_max)";

/// A read is for replicas only, and none could serve it in time.
pub(crate) const NO_REPLICA: &[u8] =
    b"CLUSTERDOWN proxy: no replica of the slot can serve reads (read_from)";

/// A request followed too many redirects.
pub(crate) const REDIRECTS: &[u8] =
    b"CLUSTERDOWN proxy: the nodes sent the request around in a circle (redirects_max)";

/// A redirect leads to a node that the topology has not named in all that time.
pub(crate) const STRANGER: &[u8] =
    b"CLUSTERDOWN proxy: a redirect leads out of the cluster (redirect_hosts allows hosts)";

/// The parts of a reply make no whole, or a node's reply can't be read.
pub(crate) const WRONG_FORM: &[u8] = b"ERR proxy: a node gave a reply of the wrong form";

/// Too much would have to be kept until the reply to one request is whole.
pub(crate) const MERGE_FULL: &[u8] =
    b"ERR proxy: the reply is too large to be put together (merge_bytes_max)";

/// What the server says of a subcommand that has too many arguments and a shape of its own.
pub(crate) fn unknown_form(request: &slotway_protocol::resp::Request<'_>) -> Vec<u8> {
    let shown = String::from_utf8_lossy(request.arg(1));
    let text = format!(
        "ERR unknown subcommand or wrong number of arguments for '{shown}'. Try CLIENT HELP."
    );
    error(text.as_bytes())
}

/// A client is subscribed to so much that it may not add to it.
pub(crate) const SUBSCRIPTIONS_FULL: &[u8] =
    b"ERR proxy: too many subscriptions (client_subscription_bytes_max)";

/// No node has confirmed a subscription in time.
pub(crate) const NOT_SUBSCRIBED: &[u8] =
    b"CLUSTERDOWN proxy: no node has confirmed the subscription in time";

/// A whole error reply.
pub(crate) fn error(text: &[u8]) -> Vec<u8> {
    let mut reply = Vec::with_capacity(text.len() + 3);
    slotway_protocol::resp::encode::error(&mut reply, text);
    reply
}

/// A command that this proxy does not serve.
pub(crate) fn not_yet(command: &str) -> Vec<u8> {
    let shown = command.replace('|', " ");
    error(format!("ERR proxy: '{shown}' is not supported through the proxy yet").as_bytes())
}

/// A command that one node alone can't execute, between MULTI and EXEC.
pub(crate) fn not_in_transaction(command: &str) -> Vec<u8> {
    let shown = command.replace('|', " ");
    error(
        format!("ERR proxy: '{shown}' can't be part of a transaction, which is for one shard")
            .as_bytes(),
    )
}

/// Whether a reply is [`PRIVATES_FULL`].
pub(crate) fn is_privates_full(reply: &[u8]) -> bool {
    reply
        .strip_prefix(b"-")
        .is_some_and(|text| text.starts_with(PRIVATES_FULL))
}

/// Whether a reply is [`RESULT_UNKNOWN`].
pub(crate) fn is_unknown(reply: &[u8]) -> bool {
    reply
        .strip_prefix(b"-")
        .is_some_and(|text| text.starts_with(RESULT_UNKNOWN))
}

/// What a client is told when what it asked for was tried for too long: the last reply, but not
/// where a slot is.
pub(crate) fn given_up(reply: &[u8]) -> Vec<u8> {
    if reply.starts_with(b"-MOVED ") || reply.starts_with(b"-ASK ") {
        error(SLOT_NOT_SERVED)
    } else {
        reply.to_vec()
    }
}

/// A command of the nodes whose key specs are incomplete.
pub(crate) fn hidden_keys(command: &str) -> Vec<u8> {
    let shown = command.replace('|', " ");
    let text = format!(
        "ERR proxy: the node does not tell where the keys of '{shown}' are (incomplete key specs)"
    );
    error(text.as_bytes())
}

/// Whether what an error reply says may be over in a moment: the node can't be reached or does not
/// serve yet, or the slot is another's.
pub(crate) fn is_passing(reply: &[u8]) -> bool {
    let words: [&[u8]; 6] = [
        b"-ASK ",
        b"-CLUSTERDOWN ",
        b"-LOADING ",
        b"-MASTERDOWN ",
        b"-MOVED ",
        b"-TRYAGAIN ",
    ];
    words.iter().any(|word| reply.starts_with(word))
}

/// Too many wrong passwords have come from the client's address; how long it still has to wait.
pub(crate) fn too_many_logins(wait: Duration) -> Vec<u8> {
    let seconds = wait.as_millis().div_ceil(1000);
    let text = format!(
        "ERR proxy: too many failed logins from this address, try again in {seconds} s \
         (login_failures_max)"
    );
    error(text.as_bytes())
}

/// The node that owns the slot could not be reached.
pub(crate) fn unreachable(address: &impl core::fmt::Display) -> Vec<u8> {
    error(format!("CLUSTERDOWN proxy cannot reach {address}").as_bytes())
}
