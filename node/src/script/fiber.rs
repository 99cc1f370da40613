//! The interpreter as a coroutine: what goes in, what comes out. It has a stack of its own, so it
//! can step out from anywhere, also while a library written in C calls a function of the script.

use core::fmt;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use slotway_protocol::resp::Protocol;

use super::library::{FunctionInfo, Staged};
use super::{Digest, lua};

/// Lua and all that scripts find in it. One script runs at a time.
pub(crate) struct Interpreter {
    coroutine: Option<Coroutine<Input, Output, ()>>,
    shared: Rc<Shared>,
    is_idle: bool,
}

/// What the interpreter is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// Something to do, when it is idle.
    Job(Job),
    /// The reply to a [`Output::Wish`].
    Reply(Vec<u8>),
    /// Go on, after a [`Output::Slice`].
    Continue,
    /// End the script; the answer to either.
    Kill,
    /// Come to an end.
    Stop,
}

#[derive(Debug)]
pub(crate) enum Job {
    Compile {
        digest: Digest,
        code: Vec<u8>,
    },
    Run {
        digest: Digest,
        keys: Vec<Vec<u8>>,
        args: Vec<Vec<u8>>,
        /// What the client understands.
        protocol: Protocol,
    },
    /// Forget all scripts.
    Forget,
    /// See what functions a library has.
    LoadLibrary {
        code: Vec<u8>,
    },
    /// Have those functions of it known that were found last.
    Adopt,
    Remove {
        functions: Vec<Vec<u8>>,
    },
    CallFunction {
        name: Vec<u8>,
        keys: Vec<Vec<u8>>,
        args: Vec<Vec<u8>>,
        protocol: Protocol,
    },
}

/// What it wants.
#[derive(Debug)]
pub(crate) enum Output {
    Idle(Outcome),
    /// A script calls a command.
    Wish(Wish),
    /// A script has run for some time.
    Slice,
}

/// What came of a job.
#[derive(Debug)]
pub(crate) enum Outcome {
    Ready,
    /// An error reply's text.
    Failed(Vec<u8>),
    /// A whole reply.
    Reply(Vec<u8>),
    /// The functions of a library.
    Library(Vec<FunctionInfo>),
}

/// A command that a script calls.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) args: Vec<Vec<u8>>,
    /// The form of the reply.
    pub(crate) protocol: Protocol,
    /// What it does is told to replicas and written to the append-only file.
    pub(crate) replicates: bool,
}

/// What both sides of the coroutine know.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) memory: Cell<usize>,
    /// What the running script has chosen.
    pub(super) protocol: Cell<Protocol>,
    pub(super) replicates: Cell<bool>,
    pub(super) is_function: Cell<bool>,
    /// Where the script was when it was killed.
    pub(super) killed: RefCell<Option<(String, i64)>>,
    /// The functions of the library that is being loaded.
    pub(super) staged: RefCell<Option<Vec<Staged>>>,
}

impl Interpreter {
    /// Starts one; an error is a reply's text.
    pub(crate) fn start() -> Result<Self, Vec<u8>> {
        let shared = Rc::new(Shared {
            memory: Cell::new(0),
            protocol: Cell::new(Protocol::Resp2),
            replicates: Cell::new(true),
            is_function: Cell::new(false),
            killed: RefCell::new(None),
            staged: RefCell::new(None),
        });
        let stack = DefaultStack::new(STACK_BYTES).map_err(|error| failed(&error))?;
        let inside = Rc::clone(&shared);
        let coroutine = Coroutine::with_stack(stack, move |link, _first| {
            if let Err(error) = lua::live(link, &inside) {
                tracing::error!(%error, "the interpreter of scripts fails");
            }
        });
        let mut interpreter = Self {
            coroutine: Some(coroutine),
            shared,
            is_idle: true,
        };
        match interpreter.resume(Input::Continue) {
            Output::Idle(Outcome::Failed(text)) => Err(text),
            _ => Ok(interpreter),
        }
    }

    /// Lets it run until it wants something.
    pub(crate) fn resume(&mut self, input: Input) -> Output {
        let ended = || Output::Idle(Outcome::Failed(failed(&"it has ended")));
        let Some(coroutine) = &mut self.coroutine else {
            return ended();
        };
        if coroutine.done() {
            return ended();
        }
        let output = match coroutine.resume(input) {
            CoroutineResult::Yield(output) => output,
            CoroutineResult::Return(()) => ended(),
        };
        self.is_idle = matches!(output, Output::Idle(_));
        output
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.is_idle && self.coroutine.as_ref().is_some_and(|own| !own.done())
    }

    /// How many bytes Lua has allocated.
    pub(crate) fn memory(&self) -> usize {
        self.shared.memory.get()
    }
}

impl Drop for Interpreter {
    /// A coroutine that has begun has to come to its end, since frames of C are on its stack.
    fn drop(&mut self) {
        for _ in 0..KILLS_MAX {
            if self.is_idle {
                break;
            }
            self.resume(Input::Kill);
        }
        if self.is_idle {
            self.resume(Input::Stop);
        }
        if let Some(coroutine) = self.coroutine.take()
            && !coroutine.done()
        {
            core::mem::forget(coroutine);
        }
    }
}

impl fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interpreter")
            .field("is_idle", &self.is_idle)
            .finish_non_exhaustive()
    }
}

fn failed(error: &dyn fmt::Display) -> Vec<u8> {
    format!("ERR The interpreter of scripts can't run: {error}").into_bytes()
}

/// As much as a program's first thread has. It takes memory only as far as it is used.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// How often a script is killed that takes no notice.
const KILLS_MAX: usize = 1000;
