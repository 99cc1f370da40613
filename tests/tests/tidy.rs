//! Holds the source to the rules that the compiler and clippy do not know: what engines may
//! import, how long files and lines get, and that the map in ARCHITECTURE.md is true.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

/// Code that must stay free of I/O, clocks and threads: engines, and what they are made of.
const PURE: [&str; 4] = [
    "protocol/src/",
    "proxy/src/engine/",
    "proxy/src/discovery",
    "node/src/",
];

/// What wires engines to the world, and so may do what engines may not.
const WIRING: [&str; 3] = ["node/src/main.rs", "node/src/server", "node/src/metrics"];

/// What an engine must not name, and what it uses instead.
const BANNED: [(&str, &str); 11] = [
    ("tokio", "the driver does I/O"),
    ("hyper::", "the driver does I/O"),
    (
        "prometheus",
        "protocol::metrics counts, the control thread shows",
    ),
    (
        "slotway_runtime",
        "the runtime depends on the engine's contract, never back",
    ),
    ("std::net", "core::net has the address types"),
    ("std::fs", "files are events and notices"),
    ("std::thread", "an engine has one thread"),
    ("std::sync::Mutex", "an engine has one thread"),
    ("std::env", "settings come as Options"),
    ("Instant::now", "the time is an argument"),
    ("SystemTime", "the time is an argument"),
];

/// Lines of a file up to its tests.
const PRODUCTION_LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;

#[test]
fn engines_do_no_io() {
    check(|file| {
        let path = file.path.as_str();
        let is_pure = PURE.iter().any(|pure| path.starts_with(pure))
            && !WIRING.iter().any(|wiring| path.starts_with(wiring));
        if is_pure {
            banned_words(file)
        } else {
            Vec::new()
        }
    });
}

#[test]
fn files_are_short() {
    check(too_long);
}

#[test]
fn lines_are_short() {
    check(wide_lines);
}

#[test]
fn nothing_is_left_for_later() {
    check(leftovers);
}

#[test]
fn files_say_what_they_are() {
    check(no_introduction);
}

#[test]
fn the_map_names_every_file() {
    let map = architecture();
    let places = named_places(&map);
    check(|file| {
        let named = places.iter().any(|place| {
            *place == file.path || (place.ends_with('/') && file.path.starts_with(place))
        });
        if named {
            Vec::new()
        } else {
            vec![format!("{}: ARCHITECTURE.md lacks it", file.path)]
        }
    });
}

#[test]
fn the_map_names_nothing_else() {
    let map = architecture();
    let gone: Vec<&str> = named_places(&map)
        .into_iter()
        .filter(|place| !root().join(place).exists())
        .collect();
    assert_eq!(
        gone,
        [] as [&str; 0],
        "ARCHITECTURE.md names what is not there"
    );
}

/// The rules themselves, each shown a file that breaks it.
#[test]
fn each_rule_finds_its_breach() {
    let file = |text: &str| File {
        path: "protocol/src/a.rs".to_owned(),
        text: text.to_owned(),
    };
    let tests = "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
    assert_eq!(banned_words(&file(tests)), [] as [&str; 0]);
    assert_eq!(
        banned_words(&file("// tokio\nuse core::net::IpAddr;\n")),
        [] as [&str; 0]
    );
    for (word, instead) in BANNED {
        let expected = format!("protocol/src/a.rs:2: '{word}' in an engine: {instead}");
        assert_eq!(
            banned_words(&file(&format!("//! A.\nuse {word};\n"))),
            [expected]
        );
    }
    let test_file = "#[cfg(test)]\nmod tests;\nuse std::fs;\n";
    assert_eq!(banned_words(&file(test_file)).len(), 1);
    let lines = "x\n".repeat(PRODUCTION_LINES_MAX);
    assert!(too_long(&file(&format!("{lines}{tests}"))).is_empty());
    assert_eq!(too_long(&file(&format!("{lines}x\n"))).len(), 1);
    let line = "é".repeat(COLUMNS_MAX);
    assert!(wide_lines(&file(&line)).is_empty());
    assert_eq!(wide_lines(&file(&format!("{line}x"))).len(), 1);
    for word in LEFTOVERS {
        assert_eq!(
            leftovers(&file(&format!("// {}{}", word.0, word.1))).len(),
            1
        );
    }
    let test = File {
        path: "node/tests/a.rs".to_owned(),
        text: format!("{lines}x\n"),
    };
    assert!(too_long(&test).is_empty());
    assert!(no_introduction(&file("//! What it is.\n")).is_empty());
    assert_eq!(no_introduction(&file("use a;\n")).len(), 1);
    assert_eq!(
        named_places("`a/b.rs` and `c/` but `not a place`"),
        ["a/b.rs", "c/"]
    );
}

/// A source file; its path is relative to the repository and has forward slashes.
struct File {
    path: String,
    text: String,
}

impl File {
    /// The lines before the tests, with their numbers. A test that has a file of its own, or is one
    /// function, does not end them.
    fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let begins_tests = |pair: &[&str]| pair == ["#[cfg(test)]", "mod tests {"];
        let len = lines.windows(2).position(begins_tests);
        let len = len.unwrap_or(lines.len());
        let lines = lines.into_iter().take(len).enumerate();
        lines.map(|(index, line)| (index + 1, line))
    }
}

fn banned_words(file: &File) -> Vec<String> {
    let code = file
        .production()
        .filter(|(_, line)| !line.trim_start().starts_with("//"));
    let breaches = code.flat_map(|(number, line)| {
        let banned = BANNED.iter().filter(move |(word, _)| line.contains(word));
        banned.map(move |(word, instead)| {
            format!("{}:{number}: '{word}' in an engine: {instead}", file.path)
        })
    });
    breaches.collect()
}

fn too_long(file: &File) -> Vec<String> {
    if file.path.contains("/tests/") || file.path.ends_with("/tests.rs") {
        return Vec::new();
    }
    let lines = file.production().count();
    if lines <= PRODUCTION_LINES_MAX {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines without its tests", file.path)]
}

fn wide_lines(file: &File) -> Vec<String> {
    let lines = file.text.lines().enumerate();
    let wide = lines.filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
    wide.map(|(index, _)| format!("{}:{}: too wide", file.path, index + 1))
        .collect()
}

fn leftovers(file: &File) -> Vec<String> {
    let lines = file.text.lines().enumerate();
    let left = lines.filter(|(_, line)| {
        LEFTOVERS
            .iter()
            .any(|(head, tail)| line.contains(&format!("{head}{tail}")))
    });
    left.map(|(index, line)| format!("{}:{}: {line}", file.path, index + 1))
        .collect()
}

/// In two halves, so that this file does not break its own rule.
const LEFTOVERS: [(&str, &str); 5] = [
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X:"),
    ("unimple", "mented!"),
    ("todo", "!("),
];

fn no_introduction(file: &File) -> Vec<String> {
    if file.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!(
        "{}: does not begin with a sentence on what it is",
        file.path
    )]
}

/// What stands between backquotes and looks like a path.
fn named_places(map: &str) -> Vec<&str> {
    let quoted = map.split('`').skip(1).step_by(2);
    quoted
        .filter(|word| word.contains('/') && !word.contains([' ', '*', '<', '{']))
        .filter(|word| !word.starts_with('/') && !word.contains("://"))
        .collect()
}

fn check(rule: impl Fn(&File) -> Vec<String>) {
    let mut files = Vec::new();
    for crate_folder in ["protocol", "runtime", "proxy", "node", "tests"] {
        for folder in ["src", "tests", "examples"] {
            collect(&root().join(crate_folder).join(folder), &mut files);
        }
    }
    assert!(
        files.len() > 30,
        "the source was not found: {} files",
        files.len()
    );
    let breaches: Vec<String> = files.iter().flat_map(rule).collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<File>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root()).unwrap();
            files.push(File {
                path: relative.to_string_lossy().replace('\\', "/"),
                text: fs::read_to_string(&path).unwrap(),
            });
        }
    }
}

fn architecture() -> String {
    fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
