//! The requests that begin a connection to a node: who we are, which protocol and which database,
//! and that reads are for a replica.

use slotway_protocol::resp::{Protocol, encode};

use super::Proxy;

impl Proxy {
    /// The requests that begin a pipeline's connection.
    pub(super) fn pipeline_login(&self, index: usize) -> Vec<Vec<u8>> {
        let pipeline = &self.pipelines[index];
        let mut requests = self.login(pipeline.protocol, pipeline.database);
        if self.is_read_lane(index) {
            requests.push(READONLY.to_vec());
        }
        requests
    }

    /// The requests that begin a connection to a node.
    pub(super) fn login(&self, protocol: Protocol, database: u16) -> Vec<Vec<u8>> {
        let mut requests = Vec::new();
        requests.extend(self.authentication(protocol));
        if database > 0 {
            let mut frame = Vec::new();
            encode::request(&mut frame, &["SELECT", &database.to_string()]);
            requests.push(frame);
        }
        requests
    }

    /// What says who we are and which protocol we speak, if that has to be said.
    fn authentication(&self, protocol: Protocol) -> Option<Vec<u8>> {
        let mut words: Vec<&str> = Vec::new();
        let credentials = self.options.credentials.as_ref();
        let username = credentials.and_then(|it| it.username.as_deref());
        match (protocol, credentials) {
            (Protocol::Resp2, None) => return None,
            (Protocol::Resp2, Some(credentials)) => {
                words.push("AUTH");
                words.extend(username);
                words.push(&credentials.password);
            }
            (Protocol::Resp3, None) => words.extend(["HELLO", "3"]),
            (Protocol::Resp3, Some(credentials)) => {
                words.extend(["HELLO", "3", "AUTH"]);
                words.push(username.unwrap_or("default"));
                words.push(&credentials.password);
            }
        }
        let mut frame = Vec::new();
        encode::request(&mut frame, &words);
        Some(frame)
    }
}

/// Lets a replica serve reads.
const READONLY: &[u8] = b"*1\r\n$8\r\nREADONLY\r\n";
