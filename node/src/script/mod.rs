//! Scripts in Lua: which are known, and the interpreter that runs them.
//!
//! The interpreter lives in a coroutine with a stack of its own ([`Interpreter`]). Whatever a
//! script wants of the node, and every so many instructions, it steps out of it; so a script that
//! takes long is left where it is, and goes on in a later turn. Nothing of this is made before the
//! first script comes.

mod bit;
mod convert;
mod declared;
mod errors;
mod fiber;
mod flags;
mod json;
mod libraries;
mod library;
mod lua;
mod msgpack;
mod number;
mod pack;
mod redis;

use std::collections::HashMap;

use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{ConnectionId, Instant, Now};

pub(crate) use declared::runs_script;
pub(crate) use fiber::{Input, Interpreter, Job, Outcome, Output, Wish};
pub(crate) use flags::{Head, ScriptFlags};
pub(crate) use libraries::{Libraries, Library, Restore};
pub(crate) use library::FunctionInfo;
pub(crate) use lua::SLICE_INSTRUCTIONS;

/// What a node knows of scripts.
#[derive(Debug, Default)]
pub(crate) struct Scripts {
    known: HashMap<Digest, Script>,
    /// What the known scripts take, about.
    bytes: usize,
    pub(crate) libraries: Libraries,
    interpreter: Option<Box<Interpreter>>,
    /// A command runs that a script has called.
    pub(crate) is_calling: bool,
    /// The script that goes on in a later turn. No other command runs until it has ended.
    pub(crate) suspended: Option<Box<Suspended>>,
    /// When that is.
    pub(crate) next_turn: Option<Instant>,
    /// Clients whose request waits for that.
    pub(crate) postponed: Vec<ConnectionId>,
    /// They may be tried again.
    pub(crate) released: bool,
    /// They were told that the node is busy.
    pub(crate) was_busy: bool,
    /// The connection to the primary, which is not read from meanwhile.
    pub(crate) paused_link: Option<ConnectionId>,
}

/// The SHA-1 of a script's text, in hexadecimal digits.
pub(crate) type Digest = [u8; 40];

/// A script that was compiled.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) flags: ScriptFlags,
}

/// A script that runs.
#[derive(Debug)]
pub(crate) struct Running {
    /// What its errors call it.
    pub(crate) name: String,
    /// It is a function of a library.
    pub(crate) is_function: bool,
    /// The request, once it has taken more than a turn.
    pub(crate) command: Vec<Vec<u8>>,
    pub(crate) flags: ScriptFlags,
    /// It may not write.
    pub(crate) is_read_only: bool,
    /// The slot of all keys so far.
    pub(crate) slot: Option<Slot>,
    pub(crate) has_written: bool,
    pub(crate) is_killed: bool,
    /// Who asked for it, and with ASKING.
    pub(crate) client: ConnectionId,
    pub(crate) asking: bool,
    pub(crate) began: Now,
    /// How much it may do until the turn ends.
    pub(crate) budget: u64,
    /// The database that it has chosen.
    pub(crate) database: u32,
    /// How many turns' work it has done.
    pub(crate) turns: u64,
}

/// A script that was interrupted.
#[derive(Debug)]
pub(crate) struct Suspended {
    pub(crate) running: Running,
    pub(crate) interpreter: Box<Interpreter>,
    /// What it is told next.
    pub(crate) input: Input,
}

impl Scripts {
    pub(crate) fn digest(body: &[u8]) -> Digest {
        let mut digest = [0; 40];
        let text = sha1_smol::Sha1::from(body).digest().to_string();
        digest.copy_from_slice(text.as_bytes());
        digest
    }

    pub(crate) fn find(&self, digest: &Digest) -> Option<&Script> {
        self.known.get(digest)
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// What known scripts take, and what the interpreter does.
    pub(crate) fn memory(&self) -> (usize, usize) {
        let interpreter = self.interpreter.as_deref();
        (self.bytes, interpreter.map_or(0, Interpreter::memory))
    }

    /// Has a script known; says why it can't be, in a reply's text.
    pub(crate) fn load(&mut self, digest: Digest, body: &[u8]) -> Result<(), Vec<u8>> {
        if self.known.contains_key(&digest) {
            return Ok(());
        }
        let head = Head::read(body)?;
        let job = Job::Compile {
            digest,
            code: body[head.len..].to_vec(),
        };
        let mut interpreter = self.take_interpreter()?;
        let output = interpreter.resume(Input::Job(job));
        self.put_back(interpreter);
        if let Output::Idle(Outcome::Failed(text)) = output {
            return Err(text);
        }
        self.bytes += body.len() + size_of::<Script>() + size_of::<Digest>();
        self.known.insert(digest, Script { flags: head.flags });
        Ok(())
    }

    /// Forgets all scripts.
    pub(crate) fn flush(&mut self) {
        self.known.clear();
        self.bytes = 0;
        match &mut self.interpreter {
            Some(interpreter) if self.libraries.len() > 0 => {
                interpreter.resume(Input::Job(Job::Forget));
            }
            _ => self.interpreter = None,
        }
    }

    /// The interpreter, to be put back when it is idle again.
    pub(crate) fn take_interpreter(&mut self) -> Result<Box<Interpreter>, Vec<u8>> {
        match self.interpreter.take() {
            Some(interpreter) => Ok(interpreter),
            None => self.start_interpreter(),
        }
    }

    /// Starts one. If there was one that has failed, libraries are loaded again, and clients have
    /// to send their scripts again.
    fn start_interpreter(&mut self) -> Result<Box<Interpreter>, Vec<u8>> {
        self.known.clear();
        self.bytes = 0;
        let mut interpreter = Box::new(Interpreter::start()?);
        for code in self.libraries.codes() {
            let load = Job::LoadLibrary {
                code: library::body(code).to_vec(),
            };
            interpreter.resume(Input::Job(load));
            interpreter.resume(Input::Job(Job::Adopt));
        }
        Ok(interpreter)
    }

    pub(crate) fn put_back(&mut self, interpreter: Box<Interpreter>) {
        self.interpreter = interpreter.is_usable().then_some(interpreter);
    }

    /// Whether a script waits to go on.
    #[inline]
    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended.is_some()
    }
}
