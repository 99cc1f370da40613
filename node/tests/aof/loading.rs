//! Files that are loaded at the start: those of the server, old ones, cut ones and wrong ones.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Writes;
use super::servers::{Client, Process, carried_digest, digest, line, log};

const ON: &[&str] = &["--appendonly", "yes"];

/// Starts the node on a folder and returns the first client.
fn ours(folder: &Path) -> (Process, Client) {
    let mut process = Process::ours(folder, &[ON, &["--databases", "16"]].concat());
    let client = process.client();
    (process, client)
}

/// What a start that fails says; it has to end with status 1.
fn refused(folder: &Path, options: &[&str]) -> String {
    let mut process = Process::ours(folder, &[ON, options].concat());
    assert_eq!(process.wait(), Some(1));
    log(folder)
}

fn part(folder: &Path, name: &str) -> PathBuf {
    folder
        .join("appendonlydir")
        .join(format!("appendonly.aof.{name}"))
}

fn write_files(folder: &Path, files: &[(&str, &[u8])]) {
    let directory = folder.join("appendonlydir");
    fs::create_dir_all(&directory).unwrap();
    for (name, bytes) in files {
        fs::write(directory.join(name), bytes).unwrap();
    }
}

#[test]
fn what_the_server_writes_is_loaded() {
    for seed in 0..4 {
        let folder = TempDir::new().unwrap();
        let mut options = [ON, &["--save", ""]].concat();
        if seed % 2 == 0 {
            options.extend(["--aof-timestamp-enabled", "yes"]);
        }
        if seed == 3 {
            options.extend(["--aof-use-rdb-preamble", "no"]);
        }
        let mut theirs = Process::theirs(folder.path(), &options);
        let mut client = theirs.client();
        let mut writes = Writes::new(seed * 2 + 1);
        writes.send(&mut client, 1_000);
        client.run(&line("BGREWRITEAOF"));
        while client.info("aof_rewrite_in_progress") == "1" {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        writes.send(&mut client, 1_000);
        let expected = digest(&mut client);
        client.send(&line("SHUTDOWN"));
        theirs.wait();
        let (_process, mut client) = ours(folder.path());
        assert_eq!(carried_digest(&mut client), expected, "seed {seed}");
    }
}

#[test]
fn an_old_file_is_moved_and_loaded() {
    let folder = TempDir::new().unwrap();
    let old = folder.path().join("appendonly.aof");
    let mut theirs = Process::theirs(folder.path(), &["--save", "", "--dbfilename", "a.rdb"]);
    let mut client = theirs.client();
    client.run(&line("SET a 1"));
    client.run(&line("SAVE"));
    theirs.kill();
    let commands = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$6\r\nAPPEND\r\n$1\r\na\r\n$1\r\n2\r\n";
    let rdb = fs::read(folder.path().join("a.rdb")).unwrap();
    fs::write(&old, [&rdb[..], commands].concat()).unwrap();
    let (process, mut client) = ours(folder.path());
    assert_eq!(client.text("GET a"), "$2\r\n12\r\n");
    assert!(!old.exists());
    let manifest = part(folder.path(), "manifest");
    let text = fs::read_to_string(&manifest).unwrap();
    assert!(
        text.starts_with("file appendonly.aof seq 1 type b\n"),
        "{text}"
    );
    drop(process);
    // A crash between the manifest and the move is made good for.
    fs::write(&manifest, "file appendonly.aof seq 1 type b\n").unwrap();
    fs::rename(folder.path().join("appendonlydir/appendonly.aof"), &old).unwrap();
    let (_process, mut client) = ours(folder.path());
    assert_eq!(client.text("GET a"), "$2\r\n12\r\n");
}

/// Small commands, one in a transaction, with the lengths at which the file is whole.
fn small_file() -> (Vec<u8>, Vec<usize>) {
    let mut file = Vec::new();
    let mut ends = vec![0];
    for (text, is_end) in [
        ("SELECT 0", true),
        ("SET a 1", true),
        ("MULTI", false),
        ("INCR a", false),
        ("SET b 2 PXAT 4102444800000", false),
        ("EXEC", true),
        ("#TS:1700000000", false),
        ("INCR a", true),
    ] {
        if text.starts_with('#') {
            file.extend_from_slice(format!("{text}\r\n").as_bytes());
        } else {
            slotway_protocol::resp::encode::request(&mut file, &line(text));
        }
        if is_end {
            ends.push(file.len());
        }
    }
    (file, ends)
}

#[test]
fn a_file_cut_anywhere_is_cut_back_to_what_is_whole() {
    let (file, ends) = small_file();
    let folder = TempDir::new().unwrap();
    let manifest = b"file appendonly.aof.1.incr.aof seq 1 type i\n";
    for cut in 1..=file.len() {
        write_files(
            folder.path(),
            &[
                ("appendonly.aof.manifest", manifest),
                ("appendonly.aof.1.incr.aof", &file[..cut]),
            ],
        );
        let (_process, mut client) = ours(folder.path());
        let whole = ends.iter().rposition(|end| *end <= cut).unwrap();
        let expected = [
            "$-1\r\n",
            "$-1\r\n",
            "$1\r\n1\r\n",
            "$1\r\n2\r\n",
            "$1\r\n3\r\n",
        ][whole];
        assert_eq!(client.text("GET a"), expected, "cut at {cut}");
        let len = fs::metadata(part(folder.path(), "1.incr.aof"))
            .unwrap()
            .len();
        // An annotation that is whole may stay.
        let is_kept = len == cut as u64 && file[..cut].ends_with(b"00\r\n");
        assert!(len == ends[whole] as u64 || is_kept, "cut at {cut}: {len}");
    }
}

/// The server does the same with a cut file, but for one within a transaction, which it leaves
/// open.
#[test]
fn the_server_cuts_at_the_same_places() {
    let (file, ends) = small_file();
    let folder = TempDir::new().unwrap();
    let manifest = b"file appendonly.aof.1.incr.aof seq 1 type i\n";
    let is_in_transaction = |cut: usize| (ends[2] + 1..ends[3]).contains(&cut);
    for cut in (1..file.len())
        .step_by(9)
        .filter(|cut| !is_in_transaction(*cut))
    {
        write_files(
            folder.path(),
            &[
                ("appendonly.aof.manifest", manifest),
                ("appendonly.aof.1.incr.aof", &file[..cut]),
            ],
        );
        let mut theirs = Process::theirs(folder.path(), ON);
        let expected = theirs.client().text("GET a");
        theirs.kill();
        let len = fs::metadata(part(folder.path(), "1.incr.aof"))
            .unwrap()
            .len();
        write_files(
            folder.path(),
            &[("appendonly.aof.1.incr.aof", &file[..cut])],
        );
        let (_process, mut client) = ours(folder.path());
        assert_eq!(client.text("GET a"), expected, "cut at {cut}");
        let ours = fs::metadata(part(folder.path(), "1.incr.aof"))
            .unwrap()
            .len();
        let is_annotation = (ends[3] + 1..ends[3] + 17).contains(&cut);
        assert!(
            ours == len || is_annotation,
            "cut at {cut}: {ours} and {len}"
        );
    }
}

#[test]
fn what_is_wrong_keeps_the_node_from_starting_in_the_words_of_the_server() {
    let (file, _) = small_file();
    let short = &file[..file.len() - 3];
    let bad = [&file[..], b"PING\r\n"].concat();
    let unknown = [&file[..], b"*1\r\n$4\r\nNOPE\r\n"].concat();
    let incr = |n: u32| format!("file appendonly.aof.{n}.incr.aof seq {n} type i\n");
    let two = incr(1) + &incr(2);
    let one = incr(1);
    let no = &["--aof-load-truncated", "no"][..];
    let cases: &[(&str, &[u8], &[&str])] = &[
        (&two, short, &[]),
        (&one, short, no),
        (&one, &bad, &[]),
        (&one, &unknown, &[]),
        ("", &file, &[]),
        ("file ../x seq 1 type i\n", &file, &[]),
        ("file x seq 1 type i", &file, &[]),
        ("file missing seq 1 type i\n", &file, &[]),
        (
            "file appendonly.aof.1.incr.aof seq 1 type b\n",
            b"REDIS0099",
            &[],
        ),
    ];
    for (manifest, bytes, options) in cases {
        let files: &[(&str, &[u8])] = &[
            ("appendonly.aof.manifest", manifest.as_bytes()),
            ("appendonly.aof.1.incr.aof", bytes),
            ("appendonly.aof.2.incr.aof", &file),
        ];
        let folder = TempDir::new().unwrap();
        write_files(folder.path(), files);
        let ours = refused(folder.path(), options);
        let folder = TempDir::new().unwrap();
        write_files(folder.path(), files);
        let mut theirs = Process::theirs(folder.path(), &[ON, options].concat());
        assert_eq!(theirs.wait(), Some(1), "{manifest}");
        let theirs = log(folder.path());
        let expected = last_message(&theirs);
        assert!(ours.contains(expected), "{ours}\nlacks {expected}");
    }
}

/// The last line of the log, without what stands before the message.
fn last_message(log: &str) -> &str {
    // The server calls a wrong base an error of reading, too.
    let lines = log
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.contains(" Invalid argument"));
    let last = { lines }.next_back().unwrap();
    last.split_once(" # ").map_or(last, |(_, message)| message)
}

/// A file that takes long to load: clients are answered meanwhile, but get no keys.
#[test]
fn clients_are_told_to_wait_while_files_are_loaded() {
    let folder = TempDir::new().unwrap();
    let mut file = Vec::new();
    for index in 0..300_000 {
        let text = format!("SET key:{index} value:{index}");
        slotway_protocol::resp::encode::request(&mut file, &line(&text));
    }
    write_files(
        folder.path(),
        &[
            ("appendonly.aof.manifest", b"file a seq 1 type i\n"),
            ("a", &file),
        ],
    );
    let mut process = Process::ours(folder.path(), ON);
    let mut client = loop {
        if let Some(client) = Client::connect(process.port) {
            break client;
        }
    };
    let loading = "-LOADING Redis is loading the dataset in memory\r\n";
    assert_eq!(client.text("PING"), loading);
    assert_eq!(client.text("GET key:1"), loading);
    assert_eq!(client.text("CONFIG GET port").lines().count(), 5);
    assert_eq!(client.info("loading"), "1");
    assert_eq!(client.info("loading_total_bytes"), file.len().to_string());
    let mut client = process.client();
    assert_eq!(client.text("DBSIZE"), ":300000\r\n");
    assert_eq!(client.info("loading"), "0");
}
