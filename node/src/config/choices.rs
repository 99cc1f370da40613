//! The settings that are one of a few words, a type for each.

use super::kind::Value;
use super::stored::Stored;

/// Makes a type for each list of words. Words that mean the same stand beside each other; the first
/// is the one that is shown.
macro_rules! choices {
    ($(
        $(#[$meta:meta])*
        $type:ident { $($variant:ident = $name:literal $(| $other:literal)*),* }
    )*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum $type { $($variant),* }

            impl $type {
                pub(crate) const NAMES: &'static [(&'static str, usize)] = &[
                    $(($name, Self::$variant as usize), $(($other, Self::$variant as usize),)*)*
                ];
                const ALL: &'static [Self] = &[$(Self::$variant),*];
            }

            impl Stored for $type {
                fn load(&self) -> Value {
                    Value::Choice(*self as usize)
                }

                fn store(&mut self, value: Value) {
                    let Value::Choice(place) = value else {
                        unreachable!("a choice is stored in its field");
                    };
                    *self = Self::ALL[place];
                }
            }
        )*
    };
}

choices! {
    /// When the AOF is flushed to the disk.
    AppendFsync { EverySec = "everysec", Always = "always", No = "no" }
    /// Which log lines are written.
    LogLevel { Debug = "debug", Verbose = "verbose", Notice = "notice", Warning = "warning" }
    MaxmemoryPolicy {
        VolatileLru = "volatile-lru",
        VolatileLfu = "volatile-lfu",
        VolatileRandom = "volatile-random",
        VolatileTtl = "volatile-ttl",
        AllkeysLru = "allkeys-lru",
        AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random",
        NoEviction = "noeviction"
    }
    /// How a replica takes a full sync that comes without a file.
    DisklessLoad { Disabled = "disabled", OnEmptyDb = "on-empty-db", Swapdb = "swapdb" }
    /// Who may use what is dangerous.
    Permission { No = "no", Yes = "yes", Local = "local" }
    /// What `CLUSTER SLOTS` and redirects name a node by.
    EndpointType { Ip = "ip", Hostname = "hostname", UnknownEndpoint = "unknown-endpoint" }
    Supervised { Upstart = "upstart", Systemd = "systemd", Auto = "auto", No = "no" }
    SyslogFacility {
        User = "user",
        Local0 = "local0",
        Local1 = "local1",
        Local2 = "local2",
        Local3 = "local3",
        Local4 = "local4",
        Local5 = "local5",
        Local6 = "local6",
        Local7 = "local7"
    }
    TlsAuthClients { No = "no", Yes = "yes", Optional = "optional" }
    OomScoreAdj { No = "no", Yes = "yes" | "relative", Absolute = "absolute" }
    AclPubsubDefault { AllChannels = "allchannels", ResetChannels = "resetchannels" }
    SanitizeDumpPayload { No = "no", Yes = "yes", Clients = "clients" }
    PropagationError {
        Ignore = "ignore",
        Panic = "panic",
        PanicOnReplicas = "panic-on-replicas"
    }
}

/// What happens at a signal: a set of [`Self::SAVE`] and the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OnSignal(u8);

impl OnSignal {
    pub const DEFAULT: Self = Self(0);
    pub const SAVE: Self = Self(1);
    pub const NOSAVE: Self = Self(2);
    pub const NOW: Self = Self(4);
    pub const FORCE: Self = Self(8);
    /// Hand over to a replica first; redis-server has no such word before Valkey 9.
    pub const FAILOVER: Self = Self(16);

    pub(crate) const NAMES: &'static [(&'static str, i64)] = &[
        ("default", 0),
        ("save", Self::SAVE.0 as i64),
        ("nosave", Self::NOSAVE.0 as i64),
        ("now", Self::NOW.0 as i64),
        ("force", Self::FORCE.0 as i64),
        ("failover", Self::FAILOVER.0 as i64),
    ];

    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Stored for OnSignal {
    fn load(&self) -> Value {
        Value::Number(i64::from(self.0))
    }

    fn store(&mut self, value: Value) {
        self.0.store(value);
    }
}
