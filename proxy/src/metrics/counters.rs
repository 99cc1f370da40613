//! The names of the workers' counters that have no labels, and what they count.

use super::CounterOf;

pub(super) const COUNTERS: &[(&str, &str, CounterOf)] = &[
    (
        "slotway_peer_messages_lost_total",
        "Messages between workers that found the other's queue full.",
        |stats| &stats.peer_messages_lost,
    ),
    (
        "slotway_peer_answers_late_total",
        "Commands for all workers answered without some of them, which took over a second.",
        |stats| &stats.peer_answers_late,
    ),
    (
        "slotway_backend_checks_total",
        "Idle connections to nodes that were asked whether they still live.",
        |stats| &stats.backend_checks,
    ),
    (
        "slotway_gates_total",
        "Replies of nodes that serve nobody just now: loading, or missing their cluster.",
        |stats| &stats.gates,
    ),
    (
        "slotway_requests_scattered_total",
        "Requests for several keys of a moving slot that were sent key by key.",
        |stats| &stats.scattered,
    ),
    (
        "slotway_requests_gradual_total",
        "Requests of so many keys that they were sent little by little.",
        |stats| &stats.gradual,
    ),
    (
        "slotway_retries_deferred_total",
        "Times a slot's requests waited because retry_percent was used up.",
        |stats| &stats.retries_deferred,
    ),
    (
        "slotway_requests_invalid_total",
        "Requests that are no command or break the protocol.",
        |stats| &stats.requests_invalid,
    ),
    (
        "slotway_clients_accepted_total",
        "Clients that have connected.",
        |stats| &stats.clients_accepted,
    ),
    (
        "slotway_clients_paused_total",
        "Times a client was not read from: owed too many replies, or not taking them.",
        |stats| &stats.clients_paused,
    ),
    (
        "slotway_logins_failed_total",
        "Wrong user names and passwords that clients have said.",
        |stats| &stats.logins_failed,
    ),
    (
        "slotway_logins_refused_total",
        "Logins refused unseen because too many from the client's address had failed.",
        |stats| &stats.logins_refused,
    ),
    (
        "slotway_login_addresses_forgotten_total",
        "Addresses with failed logins that were forgotten to make room for others.",
        |stats| &stats.login_addresses_forgotten,
    ),
    (
        "slotway_replies_passed_total",
        "Large replies handed on to their client in pieces.",
        |stats| &stats.replies_passed,
    ),
    (
        "slotway_requests_delayed_total",
        "Large requests that were not read on for a while because memory was scarce.",
        |stats| &stats.requests_delayed,
    ),
    (
        "slotway_large_requests_waited_total",
        "Requests, large or with a large reply, that others of the kind went before.",
        |stats| &stats.large_waits,
    ),
    (
        "slotway_client_received_bytes_total",
        "Request bytes read from clients.",
        |stats| &stats.client_bytes_in,
    ),
    (
        "slotway_client_sent_bytes_total",
        "Reply bytes given to clients.",
        |stats| &stats.client_bytes_out,
    ),
    (
        "slotway_backend_received_bytes_total",
        "Reply bytes read from nodes.",
        |stats| &stats.backend_bytes_in,
    ),
    (
        "slotway_backend_sent_bytes_total",
        "Request bytes given to nodes.",
        |stats| &stats.backend_bytes_out,
    ),
    (
        "slotway_backend_connects_total",
        "Connections opened to nodes.",
        |stats| &stats.backend_connects,
    ),
    (
        "slotway_backend_connects_failed_total",
        "Connections to nodes that could not be opened.",
        |stats| &stats.backend_connects_failed,
    ),
    (
        "slotway_backend_timeouts_total",
        "Connections cut because a node did not answer within command_timeout_ms.",
        |stats| &stats.backend_timeouts,
    ),
    (
        "slotway_feed_connects_total",
        "Connections opened to nodes for subscriptions.",
        |stats| &stats.feed_connects,
    ),
    (
        "slotway_feeds_lost_total",
        "Connections to nodes for subscriptions that ended.",
        |stats| &stats.feeds_lost,
    ),
    (
        "slotway_messages_total",
        "Messages given to subscribed clients.",
        |stats| &stats.messages,
    ),
    (
        "slotway_subscribers_cut_total",
        "Clients cut off because subscriber_output_bytes_max were waiting for them.",
        |stats| &stats.subscribers_cut,
    ),
    (
        "slotway_subscriptions_refused_total",
        "Subscriptions refused because of client_subscription_bytes_max.",
        |stats| &stats.subscriptions_refused,
    ),
    (
        "slotway_subscriptions_expired_total",
        "Subscriptions that no node confirmed within hold_timeout_ms.",
        |stats| &stats.subscriptions_expired,
    ),
    (
        "slotway_subscriptions_moved_total",
        "Subscriptions of shard channels that a node ended because their slot has moved.",
        |stats| &stats.subscriptions_moved,
    ),
    (
        "slotway_held_requests_total",
        "Times a request had to wait for its slot to be served.",
        |stats| &stats.held,
    ),
    (
        "slotway_held_requests_expired_total",
        "Requests answered with an error after waiting hold_timeout_ms.",
        |stats| &stats.holds_expired,
    ),
    (
        "slotway_held_requests_refused_total",
        "Requests answered with an error because hold_bytes_max were waiting.",
        |stats| &stats.holds_refused,
    ),
    (
        "slotway_merges_refused_total",
        "Requests answered with an error because the reply was larger than merge_bytes_max.",
        |stats| &stats.merges_full,
    ),
    (
        "slotway_results_unknown_total",
        "Writes whose reply was lost with a connection: the node may have executed them.",
        |stats| &stats.results_unknown,
    ),
    (
        "slotway_panics_total",
        "Times a bug ended a client or a connection to a node, and not the process.",
        |stats| &stats.panics,
    ),
    (
        "slotway_backend_queue_full_total",
        "Requests answered with an error because backend_queue_bytes_max were waiting.",
        |stats| &stats.queue_full,
    ),
    (
        "slotway_transactions_total",
        "Transactions sent to a node.",
        |stats| &stats.transactions,
    ),
    (
        "slotway_transactions_refused_total",
        "Commands refused because their client had queued transaction_bytes_max.",
        |stats| &stats.transactions_refused,
    ),
    (
        "slotway_private_connects_total",
        "Connections opened for one client alone, which blocks or watches keys.",
        |stats| &stats.private_connects,
    ),
    (
        "slotway_private_connections_refused_total",
        "Times that private_connections_max were in use when one more was wanted.",
        |stats| &stats.privates_refused,
    ),
    (
        "slotway_cross_slot_reads_total",
        "Reads over keys of several slots, put together in the proxy.",
        |stats| &stats.cross_slot_reads,
    ),
    (
        "slotway_cross_slot_reads_refused_total",
        "Such reads refused because there was more than cross_slot_bytes_max to put together.",
        |stats| &stats.cross_slot_refused,
    ),
    (
        "slotway_scripts_healed_total",
        "Requests sent again with the script because the node did not know it.",
        |stats| &stats.scripts_healed,
    ),
    (
        "slotway_scripts_evicted_total",
        "Scripts forgotten because there were script_cache_bytes_max of them.",
        |stats| &stats.scripts_evicted,
    ),
    (
        "slotway_slow_requests_total",
        "Requests to nodes that took slowlog_slower_than_us or longer.",
        |stats| &stats.slow_requests,
    ),
    (
        "slotway_key_samples_total",
        "Keys that were looked at to find hot ones.",
        |stats| &stats.key_samples,
    ),
    (
        "slotway_restored_elements_total",
        "Elements put back because the client they were taken for had left.",
        |stats| &stats.restored,
    ),
];
