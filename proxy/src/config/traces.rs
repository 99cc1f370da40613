//! The `[traces]` of the configuration: where traces of requests go, and of how many.

use core::time::Duration;

use slotway::engine::Options;

use super::reader::{Section, parse_address, string};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TracesConfig {
    /// Where they go. Nowhere when absent.
    pub(crate) endpoint: Option<Endpoint>,
    /// One in so many requests; 0: none.
    pub(crate) sample: usize,
    /// How long the collector may take to accept a batch.
    pub(crate) timeout: Duration,
    /// Requests that may wait to be exported.
    pub(crate) queue_max: usize,
    /// Spans in one batch, and after which time one goes out that is not full.
    pub(crate) batch_spans_max: usize,
    pub(crate) interval: Duration,
    pub(crate) service_name: String,
    /// What else is said of this process.
    pub(crate) attributes: Vec<(String, String)>,
}

/// The address of a collector for OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    /// `host:port`
    pub(crate) authority: String,
}

impl TracesConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            endpoint: section.read("endpoint", None, |value| match string(value)?.as_ref() {
                "" => Ok(None),
                url => endpoint(url).map(Some),
            }),
            sample: section.count("sample", 0..=1_000_000_000, default.sample),
            timeout: section.millis("timeout_ms", 1..=600_000, default.timeout),
            queue_max: section.count("queue_max", 1..=1_048_576, default.queue_max),
            batch_spans_max: section.count("batch_spans_max", 1..=65_536, default.batch_spans_max),
            interval: section.millis("interval_ms", 10..=600_000, default.interval),
            service_name: section.text("service_name").unwrap_or(default.service_name),
            attributes: section
                .pairs("attributes")
                .into_iter()
                .map(|(_, name, value)| (name, value))
                .collect(),
        }
    }

    pub(super) fn apply(&self, options: &mut Options) {
        let is_on = self.endpoint.is_some();
        options.traces_sample = if is_on { self.sample as u64 } else { 0 };
    }

    /// The attributes in one line, as in the file.
    pub(super) fn attributes_shown(&self) -> String {
        let pairs = self.attributes.iter();
        let pairs = pairs.map(|(name, value)| format!("{name:?} = {value:?}"));
        pairs.collect::<Vec<_>>().join(", ")
    }
}

/// There is no TLS: a collector that wants it is reached through one beside the proxy.
fn endpoint(url: &str) -> Result<Endpoint, String> {
    let problem = || {
        format!("must be a URL such as http://127.0.0.1:4318/v1/traces, with a port, got {url:?}")
    };
    let rest = url.strip_prefix("http://").ok_or_else(problem)?;
    let (authority, path) = rest.split_once('/').ok_or_else(problem)?;
    parse_address(authority).map_err(|_| problem())?;
    if authority.contains('@') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(problem());
    }
    Ok(Endpoint {
        url: url.to_owned(),
        authority: authority.to_owned(),
    })
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample: 100,
            timeout: Duration::from_secs(10),
            queue_max: 2048,
            batch_spans_max: 512,
            interval: Duration::from_secs(1),
            service_name: "slotway".to_owned(),
            attributes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_without_tls() {
        let known = endpoint("http://[::1]:4318/v1/traces").unwrap();
        assert_eq!(known.authority, "[::1]:4318");
        for url in [
            "https://a:4318/v1/traces",
            "http://a:4318",
            "http://a/v1/traces",
            "http://user@a:4318/v1/traces",
            "http://a:4318/v1 traces",
            "a:4318",
        ] {
            let problem = endpoint(url).unwrap_err();
            assert!(
                problem.starts_with("must be a URL such as http://"),
                "{problem}"
            );
        }
    }
}
