//! The libraries of functions that a node has.

use std::collections::BTreeMap;

use super::Scripts;
use super::fiber::{Input, Interpreter, Job, Outcome, Output};
use super::library::{FunctionInfo, read_head};
use crate::persistence::payload;

/// All libraries by their names.
#[derive(Debug, Default)]
pub(crate) struct Libraries {
    all: BTreeMap<Vec<u8>, Library>,
}

#[derive(Debug)]
pub(crate) struct Library {
    pub(crate) code: Vec<u8>,
    pub(crate) functions: Vec<FunctionInfo>,
}

/// What is to become of the libraries that are there when others are restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restore {
    Flush,
    Append,
    Replace,
}

impl Libraries {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &Library)> {
        self.all.iter().map(|(name, library)| (&name[..], library))
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn functions_len(&self) -> usize {
        self.all
            .values()
            .map(|library| library.functions.len())
            .sum()
    }

    pub(crate) fn function(&self, name: &[u8]) -> Option<&FunctionInfo> {
        let mut functions = self.all.values().flat_map(|library| &library.functions);
        functions.find(|function| function.name == name)
    }

    /// The texts of all, as they are saved.
    pub(crate) fn codes(&self) -> impl Iterator<Item = &[u8]> {
        self.all.values().map(|library| &library.code[..])
    }

    /// What the texts of all take.
    pub(crate) fn bytes(&self) -> usize {
        self.codes().map(<[u8]>::len).sum()
    }
}

impl Scripts {
    /// Has the functions of a library known; its name. An error is a reply's text.
    pub(crate) fn load_library(&mut self, code: &[u8], replaces: bool) -> Result<Vec<u8>, Vec<u8>> {
        let (name, head_len) = read_head(code)?;
        if !replaces && self.libraries.all.contains_key(&name) {
            return Err([b"ERR Library '", &name[..], b"' already exists"].concat());
        }
        let mut interpreter = self.take_interpreter()?;
        let body = code[head_len..].to_vec();
        let loaded = load(&mut interpreter, body).and_then(|functions| {
            self.check_functions(&name, &functions)?;
            Ok(functions)
        });
        if let Ok(functions) = &loaded {
            if let Some(old) = self.libraries.all.remove(&name) {
                remove(&mut interpreter, &old);
            }
            interpreter.resume(Input::Job(Job::Adopt));
            let library = Library {
                code: code.to_vec(),
                functions: functions.clone(),
            };
            self.libraries.all.insert(name.clone(), library);
        }
        self.put_back(interpreter);
        loaded.map(|_| name)
    }

    fn check_functions(&self, name: &[u8], functions: &[FunctionInfo]) -> Result<(), Vec<u8>> {
        if functions.is_empty() {
            return Err(b"ERR No functions registered".to_vec());
        }
        let others = || self.libraries.iter().filter(|(other, _)| *other != name);
        for function in functions {
            let is_same = |other: &FunctionInfo| other.name == function.name;
            if others().any(|(_, library)| library.functions.iter().any(is_same)) {
                return Err([b"ERR Function ", &function.name[..], b" already exists"].concat());
            }
        }
        Ok(())
    }

    /// Forgets a library, if it is there.
    pub(crate) fn delete_library(&mut self, name: &[u8]) -> bool {
        let Some(library) = self.libraries.all.remove(name) else {
            return false;
        };
        if let Some(interpreter) = &mut self.interpreter {
            remove(interpreter, &library);
        }
        true
    }

    pub(crate) fn flush_libraries(&mut self) {
        for (_, library) in std::mem::take(&mut self.libraries.all) {
            if let Some(interpreter) = &mut self.interpreter {
                remove(interpreter, &library);
            }
        }
    }

    /// All libraries as FUNCTION DUMP gives them.
    pub(crate) fn dump_libraries(&self) -> Vec<u8> {
        payload::seal_bytes(payload::of_libraries(self.libraries.codes()))
    }

    /// Takes libraries from a payload: all of them, or none. An error is a reply's text.
    pub(crate) fn restore_libraries(
        &mut self,
        codes: &[Vec<u8>],
        how: Restore,
    ) -> Result<(), Vec<u8>> {
        if how == Restore::Append {
            for code in codes {
                let (name, _) = read_head(code)?;
                if self.libraries.all.contains_key(&name) {
                    return Err([b"ERR Library ", &name[..], b" already exists"].concat());
                }
            }
        }
        let before: Vec<Vec<u8>> = self.libraries.codes().map(<[u8]>::to_vec).collect();
        if how == Restore::Flush {
            self.flush_libraries();
        }
        for code in codes {
            if let Err(text) = self.load_library(code, true) {
                self.flush_libraries();
                for code in &before {
                    // They were there, so they can be.
                    let _ = self.load_library(code, true);
                }
                return Err(text);
            }
        }
        Ok(())
    }
}

fn load(interpreter: &mut Interpreter, code: Vec<u8>) -> Result<Vec<FunctionInfo>, Vec<u8>> {
    let mut input = Input::Job(Job::LoadLibrary { code });
    for _ in 0..LOAD_SLICES_MAX {
        match interpreter.resume(input) {
            Output::Idle(Outcome::Library(functions)) => return Ok(functions),
            Output::Idle(Outcome::Failed(text)) => return Err(text),
            Output::Idle(_) => return Err(b"ERR No functions registered".to_vec()),
            Output::Wish(_) | Output::Slice => input = Input::Continue,
        }
    }
    loop {
        if let Output::Idle(outcome) = interpreter.resume(Input::Kill) {
            return Err(match outcome {
                Outcome::Failed(text) => text,
                _ => b"ERR FUNCTION LOAD timeout".to_vec(),
            });
        }
    }
}

fn remove(interpreter: &mut Interpreter, library: &Library) {
    let functions = library.functions.iter().map(|own| own.name.clone());
    let functions = functions.collect();
    interpreter.resume(Input::Job(Job::Remove { functions }));
}

/// Loading a library takes half a second at most, about.
const LOAD_SLICES_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn library(name: &str, function: &str) -> Vec<u8> {
        format!("#!lua name={name}\nredis.register_function('{function}', function() end)")
            .into_bytes()
    }

    fn names(scripts: &Scripts) -> Vec<String> {
        let libraries = scripts.libraries.iter();
        let names = libraries.map(|(name, _)| String::from_utf8_lossy(name).into_owned());
        names.collect()
    }

    #[test]
    fn what_was_dumped_is_restored_all_or_nothing() {
        let mut scripts = Scripts::default();
        scripts.load_library(&library("one", "f"), false).unwrap();
        scripts.load_library(&library("two", "g"), false).unwrap();
        let dumped = scripts.dump_libraries();
        let codes = payload::libraries(payload::unseal(&dumped).unwrap()).unwrap();
        assert_eq!(codes.len(), 2);
        scripts.flush_libraries();
        assert_eq!(names(&scripts), [] as [&str; 0]);
        scripts.restore_libraries(&codes, Restore::Append).unwrap();
        assert_eq!(names(&scripts), ["one", "two"]);
        let why = scripts
            .restore_libraries(&codes, Restore::Append)
            .unwrap_err();
        assert_eq!(why, b"ERR Library one already exists");
        scripts.restore_libraries(&codes, Restore::Replace).unwrap();
        let others = [library("three", "h"), library("four", "g")];
        let why = scripts
            .restore_libraries(&others, Restore::Append)
            .unwrap_err();
        assert_eq!(why, b"ERR Function g already exists");
        assert_eq!(names(&scripts), ["one", "two"]);
        scripts.restore_libraries(&others, Restore::Flush).unwrap();
        assert_eq!(names(&scripts), ["four", "three"]);
        assert!(scripts.libraries.function(b"g").is_some());
        assert!(scripts.libraries.function(b"f").is_none());
    }

    #[test]
    fn a_library_that_never_ends_is_not_loaded() {
        let mut scripts = Scripts::default();
        let code = b"#!lua name=a\nwhile true do end";
        let why = scripts.load_library(code, false).unwrap_err();
        let why = String::from_utf8_lossy(&why);
        assert!(why.ends_with("FUNCTION LOAD timeout"), "{why}");
        assert!(scripts.load_library(&library("a", "f"), false).is_ok());
    }
}
