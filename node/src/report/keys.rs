//! The keys, who finds them and what they take.

use super::{Figures, counter, gauge};
use crate::engine::State;

pub(super) fn figures(state: &State) -> Vec<Figures> {
    let keyspace = &state.keyspace;
    let scripts = &state.server.scripts;
    let (bodies, interpreter) = scripts.memory();
    let mut figures = by_database(state);
    figures.extend([
        counter(
            "slotway_node_keyspace_hits_total",
            "Reads that found their key.",
            keyspace.hits(),
        ),
        counter(
            "slotway_node_keyspace_misses_total",
            "Reads that did not.",
            keyspace.misses(),
        ),
        counter(
            "slotway_node_keys_expired_total",
            "Keys removed because their time had come.",
            keyspace.expired,
        ),
        counter(
            "slotway_node_keys_evicted_total",
            "Keys removed for want of memory: always 0, the node has no eviction yet.",
            0_u64,
        ),
        gauge(
            "slotway_node_memory_used_bytes",
            "Memory of the tables of keys, as used_memory of INFO.",
            keyspace.memory(),
        ),
        gauge(
            "slotway_node_memory_max_bytes",
            "maxmemory, 0 for no bound.",
            state.server.config.maxmemory,
        ),
        gauge("slotway_node_scripts", "Scripts remembered.", scripts.len()),
        gauge(
            "slotway_node_script_bytes",
            "What the remembered scripts take.",
            bodies,
        ),
        gauge(
            "slotway_node_interpreter_bytes",
            "What the interpreter of scripts takes.",
            interpreter,
        ),
        gauge(
            "slotway_node_function_libraries",
            "Libraries of functions that are loaded.",
            scripts.libraries.len(),
        ),
        gauge(
            "slotway_node_functions",
            "Functions in them.",
            scripts.libraries.functions_len(),
        ),
        gauge(
            "slotway_node_function_bytes",
            "What the libraries of functions take.",
            scripts.libraries.bytes(),
        ),
    ]);
    figures
}

/// A node may have very many databases, so that only the first ones have a label of their own.
fn by_database(state: &State) -> Vec<Figures> {
    let shown = usize::try_from(state.server.databases()).unwrap_or(usize::MAX);
    let has_others = shown > DATABASES.len();
    let shown = shown.min(DATABASES.len());
    let mut counts = [(0, 0); DATABASES.len() + 1];
    for info in state.keyspace.database_infos() {
        let place = usize::try_from(info.number).unwrap_or(usize::MAX);
        let (keys, expiring) = &mut counts[place.min(DATABASES.len())];
        *keys += info.keys;
        *expiring += info.expiring;
    }
    let help = "Keys, those included that have expired and were not met yet.";
    let mut all = Figures::gauges("slotway_node_keys", help);
    let help = "Keys that will expire.";
    let mut expiring = Figures::gauges("slotway_node_keys_expiring", help);
    for (name, count) in DATABASES.iter().zip(counts).take(shown) {
        all = all.with("database", name, count.0);
        expiring = expiring.with("database", name, count.1);
    }
    if has_others {
        let count = counts[DATABASES.len()];
        all = all.with("database", "other", count.0);
        expiring = expiring.with("database", "other", count.1);
    }
    vec![all, expiring]
}

const DATABASES: [&str; 16] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15",
];
