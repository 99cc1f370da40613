//! What a request to run a script is, going by what the script says of itself in its first line:
//! whether it writes, and whether it may run on a replica that lost its primary.

use std::sync::LazyLock;

use slotway_protocol::command::{Command, Flags, all};
use slotway_protocol::resp::Request;

use super::{Digest, Head, ScriptFlags, Scripts};

/// Whether it is one of the commands that run scripts.
#[inline]
pub(crate) fn runs_script(command: &Command) -> bool {
    command.flags.contains(Flags::NO_MANDATORY_KEYS)
}

impl Scripts {
    /// The command with the flags of the script that it runs. What is wrong with a script, or that
    /// there is none, the command says when it runs.
    #[cold]
    pub(crate) fn declared(
        &self,
        command: &'static Command,
        request: &Request<'_>,
    ) -> &'static Command {
        match self.flags_of(command, request.arg(1)) {
            Some(flags) if !flags.is_silent => {
                let variant = usize::from(!flags.no_writes) + 2 * usize::from(flags.allow_stale);
                let mut variants = VARIANTS.iter().filter(|known| known.id == command.id);
                variants.nth(variant).unwrap_or(command)
            }
            _ => command,
        }
    }

    fn flags_of(&self, command: &Command, script: &[u8]) -> Option<ScriptFlags> {
        if command.name.starts_with("fcall") {
            let function = self.libraries.function(script);
            return function.map(|function| function.flags);
        }
        if command.name.starts_with("evalsha") {
            let digest = Digest::try_from(&script.to_ascii_lowercase()[..]).ok()?;
            return self.find(&digest).map(|script| script.flags);
        }
        Head::read(script).ok().map(|head| head.flags)
    }
}

/// Four of each command that runs scripts: it may write, or be run on a replica that lost its
/// primary, or both.
static VARIANTS: LazyLock<Vec<Command>> = LazyLock::new(|| {
    let commands = all().iter().filter(|command| runs_script(command));
    let variants = commands.flat_map(|command| {
        (0..4).map(|variant| {
            let mut flags = command.flags.without(Flags::STALE.union(Flags::WRITE));
            if variant & 1 != 0 {
                flags = flags.union(Flags::WRITE);
            }
            if variant & 2 != 0 {
                flags = flags.union(Flags::STALE);
            }
            let mut command = command.clone();
            command.flags = flags;
            command
        })
    });
    variants.collect()
});
