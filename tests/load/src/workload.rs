//! What each client sends, and the bytes that must come back.

use crate::arguments::{Arguments, Kind};

/// One write, and the whole of the reply to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) request: Vec<u8>,
    pub(crate) reply: Vec<u8>,
}

/// What one client does.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    kind: Kind,
    client: usize,
    clients: usize,
    keys: usize,
    value: String,
    /// What never changes from one transaction to the next: built once, so that the load costs
    /// little.
    fixed: Vec<Exchange>,
}

pub(crate) fn plan(arguments: &Arguments, client: usize) -> Plan {
    let mut plan = Plan {
        kind: arguments.kind,
        client,
        clients: arguments.clients,
        keys: arguments.keys.max(1),
        value: "x".repeat(arguments.value_bytes),
        fixed: Vec::new(),
    };
    if matches!(plan.kind, Kind::Transaction | Kind::Steps) {
        plan.fixed = transaction(client, &plan.value);
    }
    plan
}

impl Plan {
    /// Whether a wrong reply ends the client.
    pub(crate) fn strict(&self) -> bool {
        self.kind != Kind::Churn
    }

    /// The client's place among all, from 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        self.client as f64 / self.clients.max(1) as f64
    }

    /// What is done once, before anything is counted.
    pub(crate) fn preparation(&self) -> Vec<Exchange> {
        match self.kind {
            Kind::Get => (self.client..self.keys)
                .step_by(self.clients)
                .map(|key| exchange(&["SET", &format!("load:{key}"), &self.value], "+OK\r\n"))
                .collect(),
            // Whatever was there, the next reply is that there is nothing any more.
            Kind::Transaction | Kind::Steps => names(self.client)
                .iter()
                .map(|key| exchange(&["SET", key, ""], "+OK\r\n"))
                .chain(
                    names(self.client)
                        .iter()
                        .map(|key| exchange(&["DEL", key], ":1\r\n")),
                )
                .collect(),
            Kind::Churn | Kind::Storm => Vec::new(),
        }
    }

    /// Whether each operation has a connection of its own.
    pub(crate) fn reconnects(&self) -> bool {
        self.kind == Kind::Storm
    }

    /// The writes of operation `number`, counted from 1, each to be sent after the reply to the
    /// one before.
    pub(crate) fn operation(&self, number: u64, writes: &mut Vec<Exchange>) {
        writes.clear();
        match self.kind {
            Kind::Get => {
                // Steps of a prime visit all keys, and neighbours at different nodes.
                let spread = (number as usize).wrapping_mul(7919) + self.client * 31;
                let key = format!("load:{}", spread % self.keys);
                let reply = format!("${}\r\n{}\r\n", self.value.len(), self.value);
                writes.push(exchange(&["GET", &key], &reply));
            }
            Kind::Churn => {
                let key = format!("churn:{}:{}", self.client, number % 10_000);
                writes.push(exchange(&["SET", &key, &self.value], "+OK\r\n"));
                writes.push(exchange(&["DEL", &key], ":1\r\n"));
            }
            Kind::Storm => writes.push(exchange(&["PING"], "+PONG\r\n")),
            Kind::Steps => {
                writes.extend_from_slice(&self.fixed);
                writes.push(exchange(&["EXEC"], &self.executed(number)));
            }
            Kind::Transaction => {
                let mut whole = Exchange::default();
                for one in &self.fixed {
                    whole.request.extend_from_slice(&one.request);
                    whole.reply.extend_from_slice(&one.reply);
                }
                whole.request.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
                whole
                    .reply
                    .extend_from_slice(self.executed(number).as_bytes());
                writes.push(whole);
            }
        }
    }

    /// The reply to EXEC: a counter and the length of a list say how many transactions were
    /// executed before, so that none can be lost or done twice.
    fn executed(&self, number: u64) -> String {
        let (len, value) = (self.value.len(), &self.value);
        format!("*5\r\n+OK\r\n${len}\r\n{value}\r\n:{number}\r\n:{number}\r\n:1\r\n")
    }
}

/// MULTI and five commands, on three keys with one hash tag.
fn transaction(client: usize, value: &str) -> Vec<Exchange> {
    let [text, counter, list] = names(client);
    let queued = "+QUEUED\r\n";
    vec![
        exchange(&["MULTI"], "+OK\r\n"),
        exchange(&["SET", &text, value], queued),
        exchange(&["GET", &text], queued),
        exchange(&["INCR", &counter], queued),
        exchange(&["LPUSH", &list, value], queued),
        exchange(&["EXPIRE", &list, "1000"], queued),
    ]
}

fn names(client: usize) -> [String; 3] {
    ["text", "counter", "list"].map(|name| format!("{{load:{client}}}:{name}"))
}

fn exchange(words: &[&str], reply: &str) -> Exchange {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    Exchange {
        request,
        reply: reply.as_bytes().to_vec(),
    }
}
