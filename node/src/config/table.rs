//! All directives: of each the field of the settings, its type and default, the names, the kind of
//! its values, and what is special about it.
//!
//! `immutable` can be set at the start only; `protected` needs `enable-protected-configs`; `kept`
//! has no effect yet, but is shown and written back; `hidden` is not found by patterns;
//! `outside` needs the driver.

use slotway_protocol::engine::Address;

use super::choices::{
    AclPubsubDefault, AppendFsync, DisklessLoad, EndpointType, LogLevel, MaxmemoryPolicy, OnSignal,
    OomScoreAdj, Permission, PropagationError, SanitizeDumpPayload, Supervised, SyslogFacility,
    TlsAuthClients,
};
use super::directive::{Directive, Traits};
use super::kind::Kind::{
    self, AnyMemory, Bool, Choice, Clamped, Directory, Events, Flags, Memory, MemoryOrPercent,
    NeverYes, Number, Octal, OptionalText, Text, Words,
};
use super::special::{self, OutputLimits, SavePoint, any};
use super::stored::Stored;

/// Makes the settings, their defaults and the table of directives of one list.
macro_rules! directives {
    ($(
        $(#[$meta:meta])*
        $field:ident: $type:ty = $default:expr,
        $name:literal $(or $alias:literal)?, $kind:expr $(, $traits:ident)*;
    )*) => {
        /// The settings that have a directive. Fields have the directives' names; times are in
        /// seconds and sizes in bytes unless a field says otherwise.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Config {
            $($(#[$meta])* pub $field: $type,)*
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        pub(super) const DIRECTIVES: &[Directive] = &[$(
            Directive {
                name: $name,
                alias: &[$($alias)?],
                kind: $kind,
                traits: Traits::NONE$(.$traits())*,
                load: |config| config.$field.load(),
                store: |config, value| config.$field.store(value),
            },
        )*];
    };
}

directives! {
    // Connections.
    /// 0 for none.
    port: u16 = 6379, "port", PORT, outside;
    /// With a `-` in front an address may be missing; `*` is all.
    bind: Vec<String> = vec!["*".to_owned(), "-::*".to_owned()], "bind", Words(&special::BIND),
        outside;
    bind_source_addr: String = String::new(), "bind-source-addr", PLAIN, kept;
    protected_mode: bool = true, "protected-mode", Bool;
    unixsocket: String = String::new(), "unixsocket", PLAIN, immutable, kept;
    unixsocketperm: u32 = 0, "unixsocketperm", Octal(0, 0o777), immutable, kept;
    tcp_backlog: u32 = 511, "tcp-backlog", COUNT, immutable;
    /// 0 leaves it to the kernel.
    tcp_keepalive: u32 = 300, "tcp-keepalive", COUNT, outside;
    socket_mark_id: u32 = 0, "socket-mark-id", Number(0, UINT), immutable, kept;
    maxclients: u32 = 10_000, "maxclients", Number(1, UINT);
    /// After so long an idle client is closed; 0 for never.
    timeout: u64 = 0, "timeout", COUNT;
    maxmemory_clients: i64 = 0, "maxmemory-clients", MemoryOrPercent, kept;
    client_query_buffer_limit: u64 = 1 << 30, "client-query-buffer-limit", Memory(MIB, LONG), kept;
    client_output_buffer_limit: OutputLimits = special::OUTPUT_LIMITS,
        "client-output-buffer-limit", Words(&special::CLIENT_OUTPUT_BUFFER_LIMIT);
    proto_max_bulk_len: u64 = 512 << 20, "proto-max-bulk-len", Memory(MIB, LONG);
    io_threads: u32 = 1, "io-threads", Number(1, 128), immutable, kept;
    io_threads_do_reads: bool = false, "io-threads-do-reads", Bool, immutable, kept;

    // Who may do what.
    requirepass: String = String::new(), "requirepass", PLAIN;
    aclfile: String = String::new(), "aclfile", Text(any), immutable, kept;
    acllog_max_len: u64 = 128, "acllog-max-len", Number(0, LONG), kept;
    acl_pubsub_default: AclPubsubDefault = AclPubsubDefault::ResetChannels,
        "acl-pubsub-default", Choice(AclPubsubDefault::NAMES), kept;
    enable_protected_configs: Permission = Permission::No,
        "enable-protected-configs", Choice(Permission::NAMES), immutable;
    enable_debug_command: Permission = Permission::No,
        "enable-debug-command", Choice(Permission::NAMES), immutable;
    enable_module_command: Permission = Permission::No,
        "enable-module-command", Choice(Permission::NAMES), immutable, kept;

    // The process.
    daemonize: bool = false, "daemonize", Bool, immutable;
    supervised: Supervised = Supervised::No, "supervised", Choice(Supervised::NAMES), immutable;
    pidfile: String = String::new(), "pidfile", PLAIN, immutable;
    loglevel: LogLevel = LogLevel::Notice, "loglevel", Choice(LogLevel::NAMES),
        outside;
    /// Empty for the standard output.
    logfile: String = String::new(), "logfile", Text(any), immutable;
    syslog_enabled: bool = false, "syslog-enabled", Bool, immutable, kept;
    syslog_ident: String = "redis".to_owned(), "syslog-ident", Text(any), immutable, kept;
    syslog_facility: SyslogFacility = SyslogFacility::Local0,
        "syslog-facility", Choice(SyslogFacility::NAMES), immutable, kept;
    crash_log_enabled: bool = true, "crash-log-enabled", Bool, kept;
    crash_memcheck_enabled: bool = true, "crash-memcheck-enabled", Bool, kept;
    use_exit_on_panic: bool = false, "use-exit-on-panic", Bool, hidden, kept;
    watchdog_period: u32 = 0, "watchdog-period", COUNT, hidden, kept;
    always_show_logo: bool = false, "always-show-logo", Bool, immutable, kept;
    set_proc_title: bool = true, "set-proc-title", Bool, immutable, kept;
    proc_title_template: String = "{title} {listen-addr} {server-mode}".to_owned(),
        "proc-title-template", Text(special::is_title_template), kept;
    ignore_warnings: String = String::new(), "ignore-warnings", Text(any), kept;
    disable_thp: bool = true, "disable-thp", Bool, immutable, kept;
    oom_score_adj: OomScoreAdj = OomScoreAdj::No, "oom-score-adj", Choice(OomScoreAdj::NAMES), kept;
    oom_score_adj_values: [i32; 3] = [0, 200, 800],
        "oom-score-adj-values", Words(&special::OOM_SCORE_ADJ_VALUES), kept;
    server_cpulist: String = String::new(), "server_cpulist", PLAIN, immutable, kept;
    bio_cpulist: String = String::new(), "bio_cpulist", PLAIN, immutable, kept;
    aof_rewrite_cpulist: String = String::new(), "aof_rewrite_cpulist", PLAIN, immutable, kept;
    bgsave_cpulist: String = String::new(), "bgsave_cpulist", PLAIN, immutable, kept;
    shutdown_timeout: u32 = 10, "shutdown-timeout", COUNT;
    shutdown_on_sigint: OnSignal = OnSignal::DEFAULT,
        "shutdown-on-sigint", Flags(OnSignal::NAMES);
    shutdown_on_sigterm: OnSignal = OnSignal::DEFAULT,
        "shutdown-on-sigterm", Flags(OnSignal::NAMES);
    hz: u32 = 10, "hz", Clamped(1, 500), kept;
    dynamic_hz: bool = true, "dynamic-hz", Bool, kept;
    busy_reply_threshold: u64 = 5000,
        "busy-reply-threshold" or "lua-time-limit", Number(0, LONG);

    // Databases and memory.
    /// Of a node that is not part of a cluster.
    databases: u32 = 16, "databases", Number(1, INT), immutable;
    /// Of a node that is. Our own.
    cluster_databases: u32 = 1, "cluster-databases", Number(1, INT), immutable;
    maxmemory: u64 = 0, "maxmemory", AnyMemory, kept;
    maxmemory_policy: MaxmemoryPolicy = MaxmemoryPolicy::NoEviction,
        "maxmemory-policy", Choice(MaxmemoryPolicy::NAMES), kept;
    maxmemory_samples: u32 = 5, "maxmemory-samples", Number(1, INT), kept;
    maxmemory_eviction_tenacity: u32 = 10, "maxmemory-eviction-tenacity", Number(0, 100), kept;
    lfu_log_factor: u32 = 10, "lfu-log-factor", COUNT, kept;
    lfu_decay_time: u32 = 1, "lfu-decay-time", COUNT, kept;
    lazyfree_lazy_eviction: bool = false, "lazyfree-lazy-eviction", Bool, kept;
    lazyfree_lazy_expire: bool = false, "lazyfree-lazy-expire", Bool, kept;
    lazyfree_lazy_server_del: bool = false, "lazyfree-lazy-server-del", Bool, kept;
    lazyfree_lazy_user_del: bool = false, "lazyfree-lazy-user-del", Bool, kept;
    lazyfree_lazy_user_flush: bool = false, "lazyfree-lazy-user-flush", Bool, kept;
    active_expire_effort: u32 = 1, "active-expire-effort", Number(1, 10), kept;
    activerehashing: bool = true, "activerehashing", Bool, kept;
    activedefrag: bool = false, "activedefrag", NeverYes(NO_DEFRAGMENTATION), kept;
    active_defrag_cycle_min: u32 = 1, "active-defrag-cycle-min", Number(1, 99), kept;
    active_defrag_cycle_max: u32 = 25, "active-defrag-cycle-max", Number(1, 99), kept;
    active_defrag_threshold_lower: u32 = 10, "active-defrag-threshold-lower", PER_MILLE, kept;
    active_defrag_threshold_upper: u32 = 100, "active-defrag-threshold-upper", PER_MILLE, kept;
    active_defrag_ignore_bytes: u64 = 100 << 20,
        "active-defrag-ignore-bytes", Memory(1, LONG), kept;
    active_defrag_max_scan_fields: u64 = 1000,
        "active-defrag-max-scan-fields", Number(1, LONG), kept;
    jemalloc_bg_thread: bool = true, "jemalloc-bg-thread", Bool, kept;
    tracking_table_max_keys: u64 = 1_000_000, "tracking-table-max-keys", Number(0, LONG), kept;
    hash_max_listpack_entries: u64 = 512,
        "hash-max-listpack-entries" or "hash-max-ziplist-entries", Number(0, LONG), kept;
    hash_max_listpack_value: u64 = 64,
        "hash-max-listpack-value" or "hash-max-ziplist-value", Memory(0, LONG), kept;
    list_max_listpack_size: i32 = -2,
        "list-max-listpack-size" or "list-max-ziplist-size", Number(INT_MIN, INT), kept;
    list_compress_depth: u32 = 0, "list-compress-depth", COUNT, kept;
    set_max_intset_entries: u64 = 512, "set-max-intset-entries", Number(0, LONG), kept;
    zset_max_listpack_entries: u64 = 128,
        "zset-max-listpack-entries" or "zset-max-ziplist-entries", Number(0, LONG), kept;
    zset_max_listpack_value: u64 = 64,
        "zset-max-listpack-value" or "zset-max-ziplist-value", Memory(0, LONG), kept;
    hll_sparse_max_bytes: u64 = 3000, "hll-sparse-max-bytes", Memory(0, LONG), kept;
    stream_node_max_bytes: u64 = 4096, "stream-node-max-bytes", Memory(0, LONG);
    stream_node_max_entries: u64 = 100, "stream-node-max-entries", Number(0, LONG);

    // Files.
    dir: String = "./".to_owned(), "dir", Directory, protected, outside;
    dbfilename: String = "dump.rdb".to_owned(),
        "dbfilename", Text(special::is_dbfilename), protected;
    save: Vec<SavePoint> = special::SAVE_POINTS.to_vec(), "save", Words(&special::SAVE);
    /// How much may wait to be written while the keys are saved and change meanwhile. Our own.
    save_buffer_max: u64 = 256 << 20, "save-buffer-max", AnyMemory;
    stop_writes_on_bgsave_error: bool = true, "stop-writes-on-bgsave-error", Bool;
    rdbcompression: bool = true, "rdbcompression", Bool;
    rdbchecksum: bool = true, "rdbchecksum", Bool, immutable;
    rdb_del_sync_files: bool = false, "rdb-del-sync-files", Bool, kept;
    rdb_save_incremental_fsync: bool = true, "rdb-save-incremental-fsync", Bool, kept;
    rdb_key_save_delay: i32 = 0, "rdb-key-save-delay", Number(INT_MIN, INT), hidden;
    key_load_delay: i32 = 0, "key-load-delay", Number(INT_MIN, INT), hidden;
    loading_process_events_interval_bytes: u32 = 2 << 20,
        "loading-process-events-interval-bytes", Number(1024, INT), hidden;
    sanitize_dump_payload: SanitizeDumpPayload = SanitizeDumpPayload::No,
        "sanitize-dump-payload", Choice(SanitizeDumpPayload::NAMES), kept;
    appendonly: bool = false, "appendonly", Bool;
    appendfilename: String = "appendonly.aof".to_owned(),
        "appendfilename", Text(special::is_appendfilename), immutable;
    appenddirname: String = "appendonlydir".to_owned(),
        "appenddirname", Text(special::is_appenddirname), immutable;
    appendfsync: AppendFsync = AppendFsync::EverySec, "appendfsync", Choice(AppendFsync::NAMES);
    no_appendfsync_on_rewrite: bool = false, "no-appendfsync-on-rewrite", Bool;
    auto_aof_rewrite_percentage: u32 = 100, "auto-aof-rewrite-percentage", COUNT;
    auto_aof_rewrite_min_size: u64 = 64 << 20, "auto-aof-rewrite-min-size", Memory(0, LONG);
    aof_load_truncated: bool = true, "aof-load-truncated", Bool;
    aof_use_rdb_preamble: bool = true, "aof-use-rdb-preamble", Bool, kept;
    aof_timestamp_enabled: bool = false, "aof-timestamp-enabled", Bool;
    aof_rewrite_incremental_fsync: bool = true, "aof-rewrite-incremental-fsync", Bool, kept;
    aof_disable_auto_gc: bool = false, "aof-disable-auto-gc", Bool;
    /// How much may wait to be appended; beyond it writes are refused. Our own.
    aof_buffer_max: u64 = 256 << 20, "aof-buffer-max", AnyMemory;

    // Replication.
    replicaof: Option<Address> = None, "replicaof" or "slaveof", Words(&special::REPLICAOF),
        immutable;
    masteruser: String = String::new(), "masteruser", PLAIN;
    masterauth: String = String::new(), "masterauth", PLAIN;
    replica_serve_stale_data: bool = true,
        "replica-serve-stale-data" or "slave-serve-stale-data", Bool;
    replica_read_only: bool = true, "replica-read-only" or "slave-read-only", Bool;
    replica_priority: u32 = 100, "replica-priority" or "slave-priority", COUNT;
    replica_announced: bool = true, "replica-announced", Bool;
    replica_announce_ip: String = String::new(),
        "replica-announce-ip" or "slave-announce-ip", PLAIN;
    replica_announce_port: u16 = 0, "replica-announce-port" or "slave-announce-port", PORT;
    replica_lazy_flush: bool = false, "replica-lazy-flush" or "slave-lazy-flush", Bool, kept;
    replica_ignore_maxmemory: bool = true,
        "replica-ignore-maxmemory" or "slave-ignore-maxmemory", Bool, kept;
    replica_ignore_disk_write_errors: bool = false, "replica-ignore-disk-write-errors", Bool, kept;
    repl_backlog_size: u64 = 1 << 20, "repl-backlog-size", Memory(1, LONG);
    repl_backlog_ttl: u64 = 3600, "repl-backlog-ttl", Number(0, LONG);
    repl_timeout: u32 = 60, "repl-timeout", Number(1, INT);
    repl_ping_replica_period: u32 = 10,
        "repl-ping-replica-period" or "repl-ping-slave-period", Number(1, INT);
    repl_diskless_sync: bool = true, "repl-diskless-sync", Bool;
    repl_diskless_sync_delay: u32 = 5, "repl-diskless-sync-delay", COUNT, kept;
    repl_diskless_sync_max_replicas: u32 = 0, "repl-diskless-sync-max-replicas", COUNT, kept;
    repl_diskless_load: DisklessLoad = DisklessLoad::Disabled,
        "repl-diskless-load", Choice(DisklessLoad::NAMES);
    repl_disable_tcp_nodelay: bool = false, "repl-disable-tcp-nodelay", Bool, kept;
    min_replicas_to_write: u32 = 0, "min-replicas-to-write" or "min-slaves-to-write", COUNT;
    min_replicas_max_lag: u32 = 10, "min-replicas-max-lag" or "min-slaves-max-lag", COUNT;
    propagation_error_behavior: PropagationError = PropagationError::Ignore,
        "propagation-error-behavior", Choice(PropagationError::NAMES), kept;

    // The cluster.
    cluster_enabled: bool = false, "cluster-enabled", Bool, immutable;
    cluster_config_file: String = "nodes.conf".to_owned(),
        "cluster-config-file", Text(any), immutable;
    /// In milliseconds.
    cluster_node_timeout: u64 = 15_000, "cluster-node-timeout", Number(0, LONG);
    /// 0 is 10,000 above `port`.
    cluster_port: u16 = 0, "cluster-port", PORT, immutable;
    cluster_announce_ip: String = String::new(), "cluster-announce-ip", PLAIN;
    cluster_announce_port: u16 = 0, "cluster-announce-port", PORT;
    cluster_announce_tls_port: u16 = 0, "cluster-announce-tls-port", PORT, kept;
    cluster_announce_bus_port: u16 = 0, "cluster-announce-bus-port", PORT;
    cluster_announce_hostname: String = String::new(),
        "cluster-announce-hostname", OptionalText(special::is_hostname);
    cluster_preferred_endpoint_type: EndpointType = EndpointType::Ip,
        "cluster-preferred-endpoint-type", Choice(EndpointType::NAMES);
    cluster_replica_validity_factor: u32 = 10,
        "cluster-replica-validity-factor" or "cluster-slave-validity-factor", COUNT;
    cluster_replica_no_failover: bool = false,
        "cluster-replica-no-failover" or "cluster-slave-no-failover", Bool;
    /// A replica may follow up on a primary whose process has certainly ended without waiting for
    /// `cluster-node-timeout`. Our own.
    cluster_crash_failover: bool = true, "cluster-crash-failover", Bool;
    /// A primary that ends in order has a replica take its place first. Our own.
    cluster_shutdown_failover: bool = true, "cluster-shutdown-failover", Bool;
    cluster_migration_barrier: u32 = 1, "cluster-migration-barrier", COUNT;
    cluster_allow_replica_migration: bool = true, "cluster-allow-replica-migration", Bool;
    cluster_require_full_coverage: bool = true, "cluster-require-full-coverage", Bool;
    cluster_allow_reads_when_down: bool = false, "cluster-allow-reads-when-down", Bool;
    cluster_allow_pubsubshard_when_down: bool = true, "cluster-allow-pubsubshard-when-down", Bool;
    cluster_link_sendbuf_limit: u64 = 0, "cluster-link-sendbuf-limit", AnyMemory;

    // What is told about the node.
    notify_keyspace_events: u32 = 0, "notify-keyspace-events", Events, kept;
    /// In microseconds; below 0 for none.
    slowlog_log_slower_than: i64 = 10_000, "slowlog-log-slower-than", Number(-1, LONG);
    slowlog_max_len: u64 = 128, "slowlog-max-len", Number(0, LONG);
    /// In milliseconds.
    latency_monitor_threshold: u64 = 0, "latency-monitor-threshold", Number(0, LONG), kept;
    /// Where metrics are shown to Prometheus; 0 for nowhere. Our own.
    metrics_port: u16 = 0, "metrics-port", PORT, immutable;
    /// As in `bind`. Our own.
    metrics_bind: Vec<String> = vec!["127.0.0.1".to_owned()],
        "metrics-bind", Words(&special::BIND), immutable;
    latency_tracking: bool = true, "latency-tracking", Bool;
    latency_tracking_info_percentiles: Vec<String> = ["50", "99", "99.9"].map(str::to_owned).into(),
        "latency-tracking-info-percentiles", Words(&special::PERCENTILES);

    // TLS.
    tls_port: u16 = 0, "tls-port", PORT, kept;
    tls_cluster: bool = false, "tls-cluster", Bool, kept;
    tls_replication: bool = false, "tls-replication", Bool, kept;
    tls_auth_clients: TlsAuthClients = TlsAuthClients::Yes,
        "tls-auth-clients", Choice(TlsAuthClients::NAMES), kept;
    tls_cert_file: String = String::new(), "tls-cert-file", PLAIN, kept;
    tls_key_file: String = String::new(), "tls-key-file", PLAIN, kept;
    tls_key_file_pass: String = String::new(), "tls-key-file-pass", PLAIN, kept;
    tls_client_cert_file: String = String::new(), "tls-client-cert-file", PLAIN, kept;
    tls_client_key_file: String = String::new(), "tls-client-key-file", PLAIN, kept;
    tls_client_key_file_pass: String = String::new(), "tls-client-key-file-pass", PLAIN, kept;
    tls_dh_params_file: String = String::new(), "tls-dh-params-file", PLAIN, kept;
    tls_ca_cert_file: String = String::new(), "tls-ca-cert-file", PLAIN, kept;
    tls_ca_cert_dir: String = String::new(), "tls-ca-cert-dir", PLAIN, kept;
    tls_protocols: String = String::new(), "tls-protocols", PLAIN, kept;
    tls_ciphers: String = String::new(), "tls-ciphers", PLAIN, kept;
    tls_ciphersuites: String = String::new(), "tls-ciphersuites", PLAIN, kept;
    tls_prefer_server_ciphers: bool = false, "tls-prefer-server-ciphers", Bool, kept;
    tls_session_caching: bool = true, "tls-session-caching", Bool, kept;
    tls_session_cache_size: u32 = 20_480, "tls-session-cache-size", COUNT, kept;
    tls_session_cache_timeout: u32 = 300, "tls-session-cache-timeout", COUNT, kept;
}

const PLAIN: Kind = OptionalText(any);
const PORT: Kind = Number(0, 65_535);
const COUNT: Kind = Number(0, INT);
const PER_MILLE: Kind = Number(0, 1000);

const INT: i64 = i32::MAX as i64;
const INT_MIN: i64 = i32::MIN as i64;
const UINT: i64 = u32::MAX as i64;
const LONG: i64 = i64::MAX;
const MIB: i64 = 1 << 20;

const NO_DEFRAGMENTATION: &str = "Active defragmentation cannot be enabled: it requires a Redis \
    server compiled with a modified Jemalloc like the one shipped by default with the Redis source \
    distribution";
