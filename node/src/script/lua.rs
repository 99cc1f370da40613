//! The inside of the interpreter: makes what scripts find around them, and runs them.

use std::collections::HashMap;
use std::rc::Rc;

use corosensei::Yielder;
use mlua::chunk::ChunkMode;
use mlua::{
    Error, Function, HookTriggers, Lua, LuaOptions, MultiValue, Scope, StdLib, Table, Value,
    VmState,
};
use slotway_protocol::resp::{Protocol, encode};

use super::convert::{self, Forms};
use super::fiber::{Input, Job, Outcome, Output, Shared};
use super::library::Staged;
use super::{Digest, bit, errors, json, msgpack, pack, redis};

/// How the inside steps out.
pub(super) type Link = Yielder<Input, Output>;

/// Serves until it is told to stop.
pub(super) fn live(link: &Link, shared: &Rc<Shared>) -> mlua::Result<()> {
    let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
    let lua = Lua::new_with(libraries, LuaOptions::default())?;
    lua.scope(|scope| {
        let mut inside = Inside::new(&lua, scope, link, shared)?;
        let mut outcome = Outcome::Ready;
        loop {
            shared.memory.set(lua.used_memory());
            match link.suspend(Output::Idle(outcome)) {
                Input::Job(job) => outcome = inside.work(job),
                Input::Stop => return Ok(()),
                Input::Reply(_) | Input::Continue | Input::Kill => outcome = Outcome::Ready,
            }
        }
    })
}

struct Inside<'a> {
    lua: &'a Lua,
    shared: &'a Rc<Shared>,
    scripts: HashMap<Digest, Function>,
    functions: HashMap<Vec<u8>, Function>,
    /// Those of the library that was loaded last.
    staged: Vec<Staged>,
    /// What the names of functions mean.
    of_functions: Table,
    /// Runs the text of a library.
    load_library: Function,
    /// What the names of scripts mean; `KEYS` and `ARGV` are put into it.
    globals: Table,
    /// Calls a function, with errors as tables.
    run: Function,
}

impl<'a> Inside<'a> {
    fn new<'scope, 'env>(
        lua: &'a Lua,
        scope: &'scope Scope<'scope, 'env>,
        link: &'env Link,
        shared: &'a Rc<Shared>,
    ) -> mlua::Result<Self> {
        let libraries = lua.create_table()?;
        let redis = redis::library(lua, scope, link, shared)?;
        let redis_of_functions = redis::of_functions(lua, &redis)?;
        let redis_of_loading = redis::of_loading(lua, &redis, shared)?;
        libraries.set("redis", redis)?;
        libraries.set("bit", bit::library(lua)?)?;
        libraries.set("cjson", json::library(lua)?)?;
        libraries.set("cmsgpack", msgpack::library(lua)?)?;
        libraries.set("struct", pack::library(lua)?)?;
        let surroundings = lua.load(PRELUDE).set_name(errors::PRELUDE);
        type Made = (Table, Table, Function, Table, Function);
        let (environment, globals, run, of_functions, load_library): Made = surroundings.call((
            natives(lua)?,
            libraries,
            redis_of_functions,
            redis_of_loading,
        ))?;
        lua.set_named_registry_value(ENVIRONMENT, environment)?;
        let own = Rc::clone(shared);
        let slice = scope.create_function(move |lua, ()| match link.suspend(Output::Slice) {
            Input::Kill => Err(kill(lua, &own)),
            _ => Ok(()),
        })?;
        lua.set_named_registry_value(SLICE, slice)?;
        watch(lua)?;
        Ok(Self {
            lua,
            shared,
            scripts: HashMap::new(),
            functions: HashMap::new(),
            staged: Vec::new(),
            globals,
            of_functions,
            run,
            load_library,
        })
    }

    fn work(&mut self, job: Job) -> Outcome {
        match job {
            Job::Compile { digest, code } => match compile(self.lua, &code, "@user_script") {
                Ok(function) => {
                    self.scripts.insert(digest, function);
                    Outcome::Ready
                }
                Err(error) => {
                    let why = syntax_message(&error);
                    let text = format!("ERR Error compiling script (new function): {why}");
                    Outcome::Failed(text.into_bytes())
                }
            },
            Job::Run {
                digest,
                keys,
                args,
                protocol,
            } => {
                let result = self.run_script(&digest, &keys, &args, protocol);
                result.unwrap_or_else(|error| failed(&error))
            }
            Job::Forget => {
                self.scripts.clear();
                self.collect()
            }
            Job::LoadLibrary { code } => self.load(&code).unwrap_or_else(|error| failed(&error)),
            Job::Adopt => {
                for (info, function) in self.staged.drain(..) {
                    self.functions.insert(info.name, function);
                }
                Outcome::Ready
            }
            Job::Remove { functions } => {
                for name in functions {
                    self.functions.remove(&name);
                }
                self.collect()
            }
            Job::CallFunction {
                name,
                keys,
                args,
                protocol,
            } => {
                let result = self.call_function(&name, &keys, &args, protocol);
                result.unwrap_or_else(|error| failed(&error))
            }
        }
    }

    fn collect(&self) -> Outcome {
        // What is left is collected later.
        let _ = self.lua.gc_collect();
        Outcome::Ready
    }

    /// Runs the text of a library, and keeps the functions that it registers.
    fn load(&mut self, code: &[u8]) -> mlua::Result<Outcome> {
        self.staged.clear();
        let environment = self.of_functions.clone();
        let library = match compile_in(self.lua, code, "@user_function", environment) {
            Ok(library) => library,
            Err(error) => {
                let why = syntax_message(&error);
                let text = format!("ERR Error compiling function: {why}");
                return Ok(Outcome::Failed(text.into_bytes()));
            }
        };
        *self.shared.staged.borrow_mut() = Some(Vec::new());
        let result = self.load_library.call(library);
        let staged = self.shared.staged.take().unwrap_or_default();
        let registering = b"ERR Error registering functions: ";
        if self.shared.killed.take().is_some() {
            watch(self.lua)?;
            let text = [&registering[..], b"ERR FUNCTION LOAD timeout"].concat();
            return Ok(Outcome::Failed(text));
        }
        let (succeeded, problem): (bool, Value) = result?;
        if !succeeded {
            let text = [&registering[..], &error_of(&problem)].concat();
            return Ok(Outcome::Failed(text));
        }
        let infos = staged.iter().map(|(info, _)| info.clone()).collect();
        self.staged = staged;
        Ok(Outcome::Library(infos))
    }

    fn call_function(
        &self,
        name: &[u8],
        keys: &[Vec<u8>],
        args: &[Vec<u8>],
        protocol: Protocol,
    ) -> mlua::Result<Outcome> {
        let Some(function) = self.functions.get(name) else {
            return Ok(Outcome::Failed(b"ERR Function not found".to_vec()));
        };
        let (keys, args) = (texts(self.lua, keys)?, texts(self.lua, args)?);
        let args = MultiValue::from_vec(vec![Value::Table(keys), Value::Table(args)]);
        self.shared.is_function.set(true);
        self.call(function, args, &String::from_utf8_lossy(name), protocol)
    }

    fn run_script(
        &self,
        digest: &Digest,
        keys: &[Vec<u8>],
        args: &[Vec<u8>],
        protocol: Protocol,
    ) -> mlua::Result<Outcome> {
        let Some(script) = self.scripts.get(digest) else {
            let text = b"NOSCRIPT No matching script. Please use EVAL.";
            return Ok(Outcome::Failed(text.to_vec()));
        };
        self.globals.raw_set("KEYS", texts(self.lua, keys)?)?;
        self.globals.raw_set("ARGV", texts(self.lua, args)?)?;
        let name = String::from_utf8_lossy(digest);
        self.shared.is_function.set(false);
        self.call(script, MultiValue::new(), &name, protocol)
    }

    /// Calls a function and makes a reply of what it returns.
    fn call(
        &self,
        function: &Function,
        args: MultiValue,
        name: &str,
        client: Protocol,
    ) -> mlua::Result<Outcome> {
        self.shared.protocol.set(Protocol::Resp2);
        self.shared.replicates.set(true);
        let mut all = args;
        all.push_front(Value::Function(function.clone()));
        let result = self.run.call(all);
        if let Some((source, line)) = self.shared.killed.take() {
            watch(self.lua)?;
            return Ok(Outcome::Failed(placed(
                killed_text(self.shared).as_bytes(),
                name,
                &source,
                line,
            )));
        }
        let (succeeded, value): (bool, Value) = result?;
        if !succeeded {
            return Ok(Outcome::Failed(error_text(&value, name)));
        }
        let mut out = Vec::new();
        let forms = Forms {
            client,
            script: self.shared.protocol.get(),
        };
        convert::write_reply(&mut out, &value, forms, 0);
        Ok(Outcome::Reply(out))
    }
}

/// What the surroundings are made with.
fn natives(lua: &Lua) -> mlua::Result<Table> {
    let natives = lua.create_table()?;
    natives.set("explain", lua.create_function(errors::explain)?)?;
    natives.set(
        "position",
        lua.create_function(|lua, ()| Ok(errors::position(lua).unzip()))?,
    )?;
    natives.set(
        "compile",
        lua.create_function(|lua, (code, name): (Value, Value)| {
            let Value::String(code) = code else {
                return Err(errors::wrong_type(
                    lua,
                    1,
                    "loadstring",
                    "string",
                    Some(&code),
                ));
            };
            let name = match name {
                Value::String(name) => name.to_string_lossy(),
                _ => "=?".to_owned(),
            };
            Ok(match compile(lua, &code.as_bytes(), &name) {
                Ok(function) => (Some(function), None),
                Err(error) => (None, Some(syntax_message(&error))),
            })
        })?,
    )?;
    Ok(natives)
}

/// Makes a function of a script's text, never of compiled code, which could do anything.
fn compile(lua: &Lua, code: &[u8], name: &str) -> mlua::Result<Function> {
    let environment = lua.named_registry_value(ENVIRONMENT)?;
    compile_in(lua, code, name, environment)
}

fn compile_in(lua: &Lua, code: &[u8], name: &str, environment: Table) -> mlua::Result<Function> {
    let name = name.split('\0').next().unwrap_or_default();
    lua.load(code)
        .set_name(name)
        .set_mode(ChunkMode::Text)
        .set_environment(environment)
        .into_function()
}

fn syntax_message(error: &Error) -> String {
    match error {
        Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

fn texts(lua: &Lua, items: &[Vec<u8>]) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(items.len(), 0)?;
    for (index, item) in (1_i64..).zip(items) {
        table.raw_set(index, lua.create_string(item)?)?;
    }
    Ok(table)
}

/// Has scripts step out now and then.
fn watch(lua: &Lua) -> mlua::Result<()> {
    let triggers = HookTriggers::new().every_nth_instruction(SLICE_INSTRUCTIONS);
    lua.set_global_hook(triggers, |lua, _| {
        let slice: Function = lua.named_registry_value(SLICE)?;
        slice.call::<()>(())?;
        Ok(VmState::Continue)
    })
}

/// The error that ends a script. It is raised again at each instruction, so that the script can't
/// go on after it has caught one.
pub(super) fn kill(lua: &Lua, shared: &Shared) -> Error {
    let mut killed = shared.killed.borrow_mut();
    if killed.is_none() {
        *killed = Some(errors::position(lua).unwrap_or_default());
    }
    let triggers = HookTriggers::new().every_nth_instruction(1);
    let text = killed_text(shared);
    let set = lua.set_global_hook(triggers, move |_, debug| {
        if debug.source().source.as_deref() == Some(errors::PRELUDE) {
            return Ok(VmState::Continue);
        }
        Err(errors::reply(text))
    });
    set.err().unwrap_or_else(|| errors::reply(text))
}

/// The text of the reply to a script that has failed.
fn error_text(value: &Value, name: &str) -> Vec<u8> {
    let text = error_of(value);
    let Value::Table(table) = value else {
        return text;
    };
    let field = |name: &str| table.raw_get::<Value>(name).unwrap_or(Value::Nil);
    match (field("source"), field("line")) {
        (Value::String(source), Value::Integer(line)) => {
            placed(&text, name, &source.to_string_lossy(), line)
        }
        _ => text,
    }
}

fn error_of(value: &Value) -> Vec<u8> {
    let Value::Table(table) = value else {
        return failed_text(&value.to_string().unwrap_or_default());
    };
    match table.raw_get("err").unwrap_or(Value::Nil) {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Integer(number) => number.to_string().into_bytes(),
        _ => b"ERR unknown error".to_vec(),
    }
}

fn placed(text: &[u8], name: &str, source: &str, line: i64) -> Vec<u8> {
    let place = format!(" script: {name}, on {source}:{line}.");
    [text, place.as_bytes()].concat()
}

fn failed(error: &Error) -> Outcome {
    Outcome::Failed(failed_text(&error.to_string()))
}

fn failed_text(why: &str) -> Vec<u8> {
    let mut why = why.replace(['\r', '\n'], " ");
    why.truncate(why.floor_char_boundary(100));
    let mut out = Vec::new();
    encode::error(
        &mut out,
        format!("ERR Error running script, {why}").as_bytes(),
    );
    out[1..out.len() - 2].to_vec()
}

const PRELUDE: &str = include_str!("prelude.lua");

/// Names in Lua's registry.
const ENVIRONMENT: &str = "slotway.environment";
const SLICE: &str = "slotway.slice";

fn killed_text(shared: &Shared) -> &'static str {
    if shared.is_function.get() {
        "ERR Script killed by user with FUNCTION KILL."
    } else {
        "ERR Script killed by user with SCRIPT KILL."
    }
}

/// Takes a millisecond or two.
pub(crate) const SLICE_INSTRUCTIONS: u32 = 100_000;
