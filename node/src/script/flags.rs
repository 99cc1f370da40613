//! What a script says of itself in its first line: `#!lua flags=no-writes`.

/// What a script needs, or does without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ScriptFlags {
    /// It says nothing of itself, as scripts before version 7.
    pub(crate) is_silent: bool,
    pub(crate) no_writes: bool,
    pub(crate) allow_oom: bool,
    pub(crate) allow_stale: bool,
    pub(crate) no_cluster: bool,
    pub(crate) allow_cross_slot_keys: bool,
}

impl ScriptFlags {
    /// Their names, in the server's order.
    const NAMES: [&str; 5] = [
        "no-writes",
        "allow-oom",
        "allow-stale",
        "no-cluster",
        "allow-cross-slot-keys",
    ];

    /// The names of those that are set.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            self.no_writes,
            self.allow_oom,
            self.allow_stale,
            self.no_cluster,
            self.allow_cross_slot_keys,
        ];
        let named = Self::NAMES.into_iter().zip(all);
        named.filter_map(|(name, is_set)| is_set.then_some(name))
    }

    /// Sets the flag of that name, if there is one.
    pub(crate) fn set(&mut self, name: &[u8]) -> bool {
        let flag = match name {
            b"no-writes" => &mut self.no_writes,
            b"allow-oom" => &mut self.allow_oom,
            b"allow-stale" => &mut self.allow_stale,
            b"no-cluster" => &mut self.no_cluster,
            b"allow-cross-slot-keys" => &mut self.allow_cross_slot_keys,
            _ => return false,
        };
        *flag = true;
        true
    }
}

/// The first line of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) flags: ScriptFlags,
    /// Where the code begins: at the end of the line, so that lines keep their numbers.
    pub(crate) len: usize,
}

impl Head {
    /// Reads it; an error is a reply's text.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Vec<u8>> {
        let mut flags = ScriptFlags::default();
        if !body.starts_with(b"#!") {
            flags.is_silent = true;
            return Ok(Self { flags, len: 0 });
        }
        let Some(len) = memchr::memchr(b'\n', body) else {
            return Err(b"ERR Invalid script shebang".to_vec());
        };
        let mut words = body[..len]
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let engine = words.next().unwrap_or_default();
        if engine != b"#!lua" {
            return Err([b"ERR Unexpected engine in script shebang: ", engine].concat());
        }
        for word in words {
            let Some(names) = word.strip_prefix(b"flags=") else {
                return Err([b"ERR Unknown lua shebang option: ", word].concat());
            };
            for name in names.split(|&byte| byte == b',') {
                if names.is_empty() {
                    break;
                }
                if !flags.set(name) {
                    return Err([b"ERR Unexpected flag in script shebang: ", name].concat());
                }
            }
        }
        Ok(Self { flags, len })
    }
}
