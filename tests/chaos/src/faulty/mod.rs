//! `faulty`: a proxy that does to connections what networks and dying machines do. Each of its
//! links listens somewhere and connects to one target; lines of text change what becomes of the
//! bytes while it runs.

mod link;
mod pump;
mod settings;

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::rc::Rc;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use link::Link;

const USAGE: &str = "usage: faulty --control HOST:PORT NAME=LISTEN,TARGET...
Lines to the control port, each answered with ok or an error:
    NAME|* pass                          no faults from now on
    NAME|* latency MS [JITTER] [up|down] up: to the target, down: from it; without: both
    NAME|* rate BYTES [up|down]          at most so many in a second
    NAME|* split BYTES [up|down]         in pieces of so many
    NAME|* stall [up|down]               nothing passes, connections stay open
    NAME|* cut BYTES [up|down]           reset, each connection after so many bytes more
    NAME|* corrupt BYTES [up|down]       one byte is changed, each connection's after so many more
    NAME|* reset                         all connections, now
    NAME|* half-close up|down            the end of what is sent that way, the other way goes on
    NAME|* blackhole                     new connections are taken and never answered, old ones stall
    NAME|* refuse                        nobody listens, old connections are reset
    NAME|* count                         ok and how many connections were made";

type Links = Rc<BTreeMap<String, Rc<Link>>>;

/// Runs until the process is ended.
pub fn run(words: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tasks = tokio::task::LocalSet::new();
    let words: Vec<String> = words.collect();
    runtime.block_on(tasks.run_until(serve(&words)))
}

async fn serve(words: &[String]) -> Result<(), Box<dyn Error>> {
    let [flag, control, links @ ..] = words else {
        return Err(USAGE.into());
    };
    if flag != "--control" || links.is_empty() {
        return Err(USAGE.into());
    }
    let mut all = BTreeMap::new();
    for link in links {
        let (name, addresses) = link.split_once('=').ok_or(USAGE)?;
        let (listen, target) = addresses.split_once(',').ok_or(USAGE)?;
        all.insert(name.to_owned(), Link::start(listen, target).await?);
    }
    let links = Rc::new(all);
    let listener = TcpListener::bind(control).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::task::spawn_local(obey(stream, Rc::clone(&links)));
    }
}

/// Does what the lines of one control connection say.
async fn obey(mut stream: TcpStream, links: Links) -> io::Result<()> {
    let (input, mut output) = stream.split();
    let mut lines = BufReader::new(input).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match command(&line, &links) {
            Ok(answer) => answer,
            Err(why) => format!("error: {why}"),
        };
        output.write_all(format!("{answer}\n").as_bytes()).await?;
    }
    Ok(())
}

fn command(line: &str, links: &Links) -> Result<String, String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [name, what, arguments @ ..] = words.as_slice() else {
        return Err(format!("not understood: {line}"));
    };
    let of_name = |entry: &(&String, &Rc<Link>)| *name == "*" || entry.0 == name;
    let chosen: Vec<_> = links.iter().filter(of_name).map(|entry| entry.1).collect();
    if chosen.is_empty() {
        return Err(format!("no link {name}"));
    }
    if *what == "count" {
        return Ok(format!(
            "ok {}",
            chosen.iter().map(|link| link.count()).sum::<u64>()
        ));
    }
    for link in chosen {
        link.change(what, arguments)?;
    }
    Ok("ok".to_owned())
}

#[cfg(test)]
mod tests;
