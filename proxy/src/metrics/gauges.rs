//! The names of the workers' gauges that have no labels, and what they show.

use super::GaugeOf;

pub(super) const GAUGES: &[(&str, &str, GaugeOf)] = &[
    ("slotway_scripts", "Scripts remembered.", |stats| {
        &stats.scripts
    }),
    (
        "slotway_script_bytes",
        "What the remembered scripts take.",
        |stats| &stats.script_bytes,
    ),
    ("slotway_clients", "Connected clients.", |stats| {
        &stats.clients
    }),
    (
        "slotway_memory_kept_bytes",
        "What workers keep for clients and nodes, as it was counted last.",
        |stats| &stats.memory_kept,
    ),
    (
        "slotway_memory_max_bytes",
        "What the process may take (memory_bytes_max), 0 for no bound.",
        |stats| &stats.memory_max,
    ),
    (
        "slotway_memory_strain",
        "How scarce memory is: 0 not, 1 tight, 2 short, 3 over.",
        |stats| &stats.memory_strain,
    ),
    (
        "slotway_backend_connections",
        "Open connections to nodes.",
        |stats| &stats.backends,
    ),
    (
        "slotway_subscribers",
        "Subscriptions of clients.",
        |stats| &stats.subscribers,
    ),
    (
        "slotway_in_flight_requests",
        "Requests that nodes have not answered.",
        |stats| &stats.in_flight,
    ),
    (
        "slotway_reads_waiting",
        "Reads that wait for a replica, which alone may serve them.",
        |stats| &stats.reads_waiting,
    ),
    (
        "slotway_gates",
        "Nodes that serve nobody just now.",
        |stats| &stats.gates_shut,
    ),
    ("slotway_holds", "Slots whose requests wait.", |stats| {
        &stats.holds
    }),
    (
        "slotway_hold_bytes",
        "Bytes of the requests that wait for their slot.",
        |stats| &stats.hold_bytes,
    ),
    (
        "slotway_private_connections",
        "Connections to nodes that serve one client at a time.",
        |stats| &stats.privates,
    ),
    (
        "slotway_private_connections_idle",
        "Those of them that nobody uses.",
        |stats| &stats.privates_idle,
    ),
    (
        "slotway_clients_blocked",
        "Clients that wait for elements or replicas.",
        |stats| &stats.clients_blocked,
    ),
    (
        "slotway_waiting_keys",
        "Keys that clients wait for without a connection of their own.",
        |stats| &stats.waiting_keys,
    ),
    (
        "slotway_script_bytes_max",
        "Bound of slotway_script_bytes (script_cache_bytes_max).",
        |stats| &stats.script_bytes_max,
    ),
    (
        "slotway_clients_in_transaction",
        "Clients between MULTI and EXEC.",
        |stats| &stats.clients_in_transaction,
    ),
    (
        "slotway_clients_subscribed",
        "Clients with a subscription.",
        |stats| &stats.clients_subscribed,
    ),
    (
        "slotway_clients_watching",
        "Clients that watch keys.",
        |stats| &stats.clients_watching,
    ),
    (
        "slotway_client_output_bytes",
        "Replies that clients have not taken, as they were counted last.",
        |stats| &stats.client_output_bytes,
    ),
    (
        "slotway_backend_queue_bytes",
        "What is kept for requests that nodes have not answered.",
        |stats| &stats.queue_bytes,
    ),
    (
        "slotway_hold_bytes_max",
        "Bound of slotway_hold_bytes (hold_bytes_max).",
        |stats| &stats.hold_bytes_max,
    ),
    (
        "slotway_private_connections_max",
        "Bound of slotway_private_connections (private_connections_max).",
        |stats| &stats.privates_max,
    ),
];
