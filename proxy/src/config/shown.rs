//! The configuration as `CONFIG GET` shows it: the keys that stay as they are while the proxy runs.
//! The others are the engine's own `SETTINGS`.

use super::{Config, addresses, reads};

impl Config {
    /// Each such key with its value. A password is not shown.
    pub(crate) fn shown(&self) -> Vec<(&'static str, String)> {
        let Self {
            proxy,
            cluster,
            embedded,
            admin,
            log,
            access_log,
            traces,
            ..
        } = self;
        let millis = |duration: core::time::Duration| duration.as_millis().to_string();
        let seeds: Vec<_> = cluster.seeds.iter().map(ToString::to_string).collect();
        let data = embedded.data.as_ref().map(|path| path.display());
        let announce = proxy.cluster_announce.as_ref();
        let endpoint = traces.endpoint.as_ref().map(|it| &it.url);
        vec![
            ("access_log_keys", access_log.keys.to_string()),
            ("address_map", addresses::shown(&cluster.addresses)),
            ("admin_listen", text(admin.listen.as_ref())),
            ("assist_failover", cluster.assist_failover.to_string()),
            ("client_username", text(proxy.client_username.as_ref())),
            ("cluster_announce", text(announce)),
            ("cluster_emulation", proxy.cluster_emulation.to_string()),
            ("commands_interval_ms", millis(cluster.commands_interval)),
            ("connect_timeout_ms", millis(cluster.connect_timeout)),
            (
                "connections_per_node",
                cluster.connections_per_node.to_string(),
            ),
            ("cross_slot_reads", proxy.cross_slot_reads.to_string()),
            ("databases_max", cluster.databases_max.to_string()),
            ("drain_timeout_ms", millis(proxy.drain_timeout)),
            ("embedded_data", text(data.as_ref())),
            ("embedded_primaries", embedded.primaries.to_string()),
            ("embedded_replicas", embedded.replicas.to_string()),
            (
                "feed_check_interval_ms",
                millis(cluster.feed_check_interval),
            ),
            ("lag_check_interval_ms", millis(cluster.lag_check_interval)),
            ("listen", proxy.listen.to_string()),
            ("log_filter", log.filter.clone()),
            ("log_format", log.format.name().to_owned()),
            ("max_clients", proxy.max_clients.to_string()),
            ("monitor", proxy.monitor.to_string()),
            (
                "prefer_hostnames",
                cluster.addresses.prefer_hostnames.to_string(),
            ),
            ("read_from", cluster.reads.read_from.name().to_owned()),
            ("read_rules", reads::shown(&cluster.reads.rules)),
            ("redirect_hosts", cluster.redirect_hosts.join(" ")),
            ("refresh_interval_ms", millis(cluster.refresh_interval)),
            (
                "replica_check_interval_ms",
                millis(cluster.reads.check_interval),
            ),
            ("seeds", seeds.join(" ")),
            ("traces_attributes", traces.attributes_shown()),
            ("traces_batch_spans_max", traces.batch_spans_max.to_string()),
            ("traces_endpoint", text(endpoint)),
            ("traces_interval_ms", millis(traces.interval)),
            ("traces_queue_max", traces.queue_max.to_string()),
            ("traces_service_name", traces.service_name.clone()),
            ("traces_timeout_ms", millis(traces.timeout)),
            ("username", text(cluster.username.as_ref())),
            ("workers", proxy.workers.to_string()),
        ]
    }
}

impl Config {
    /// The keys, among those that stay as they are while the proxy runs, whose values differ.
    pub(crate) fn differing(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.shown().into_iter().zip(other.shown());
        let differing = pairs.filter(|((_, one), (_, other))| one != other);
        let mut names: Vec<_> = differing.map(|((name, _), _)| name).collect();
        if self.cluster.password != other.cluster.password {
            names.push("password");
        }
        names
    }
}

/// Nothing is shown of what is not set.
fn text(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use slotway::engine::SETTINGS;

    use super::super::reader::Document;
    use super::*;

    /// A key under its own name, or with its section's where the name alone says little.
    #[test]
    fn every_key_but_the_password_is_shown_once() {
        let mut document = Document::new("");
        let config = Config::read(&mut document);
        let mut expected: Vec<String> = document.known();
        expected.retain(|key| key != "cluster.password" && key != "proxy.client_password");
        for key in &mut expected {
            let (section, name) = key.split_once('.').unwrap();
            *key = match section {
                "access_log" | "admin" | "embedded" | "log" | "traces" => {
                    format!("{section}_{name}")
                }
                _ => name.to_owned(),
            };
        }
        expected.sort();
        let fixed = config.shown().into_iter().map(|(name, _)| name);
        let all = fixed.chain(SETTINGS.iter().map(|setting| setting.name));
        let mut all: Vec<String> = all.map(str::to_owned).collect();
        all.sort();
        assert_eq!(
            all, expected,
            "each key is among the engine's SETTINGS or in Config::shown"
        );
    }

    /// What CONFIG SET takes, the file takes too, and no more.
    #[test]
    fn ranges_are_those_of_the_file() {
        for setting in SETTINGS {
            let section = match setting.name {
                name if name.starts_with("access_log_") => "access_log",
                name if name.starts_with("traces_") => "traces",
                "close_timeout_ms" => "proxy",
                "command_timeout_ms" | "hold_timeout_ms" | "redirects_max" => "cluster",
                "node_check_interval_ms" | "retry_percent" => "cluster",
                name if name.starts_with("read_") || name.starts_with("replica_") => "cluster",
                name if name.starts_with("slowlog_") || name.starts_with("hot_") => "watch",
                "large_value_bytes_min" => "watch",
                _ => "limits",
            };
            let takes = |value: u64| {
                let name = match setting.name.strip_prefix(section) {
                    Some(rest) => rest.trim_start_matches('_'),
                    None => setting.name,
                };
                let beside = match name {
                    "bulk_bytes_max" => "request_bytes_max = 4294967295",
                    "request_bytes_max" => "bulk_bytes_max = 1024",
                    _ => "",
                };
                let text = format!("[{section}]\n{name} = {value}\n{beside}\n");
                Config::parse("file", &text).is_ok()
            };
            let (least, most) = (*setting.range.start(), *setting.range.end());
            assert!(takes(least) && takes(most), "{}", setting.name);
            assert!(!takes(most + 1), "{}", setting.name);
            assert!(!least.checked_sub(1).is_some_and(takes), "{}", setting.name);
        }
    }

    #[test]
    fn what_differs_is_named() {
        let parse = |text| Config::parse("file", text).unwrap();
        let one = parse("[cluster]\npassword = 'a'\n[limits]\nhold_bytes_max = 1048576");
        let other = parse("[proxy]\nworkers = 3\n[cluster]\npassword = 'b'");
        let mut config = Config::default();
        config.proxy.workers = 2;
        assert_eq!(config.differing(&config), [""; 0]);
        assert_eq!(one.differing(&parse("[cluster]\npassword = 'a'")), [""; 0]);
        assert_eq!(one.differing(&parse("")), ["password"]);
        assert_eq!(config.differing(&other), ["workers", "password"]);
    }

    #[test]
    fn values_are_written_as_in_the_file() {
        let text = "
            [proxy]
            cluster_emulation = true
            monitor = true
            cluster_announce = 'h:1'
            [cluster]
            seeds = ['a:1', '[::1]:2']
            username = 'u'
            password = 'p'
            [admin]
            listen = ''
        ";
        let shown = Config::parse("file", text).unwrap().shown();
        for expected in [
            ("admin_listen", ""),
            ("cluster_announce", "h:1"),
            ("cluster_emulation", "true"),
            ("monitor", "true"),
            ("connect_timeout_ms", "1000"),
            ("listen", "127.0.0.1:6379"),
            ("seeds", "a:1 [::1]:2"),
            ("username", "u"),
        ] {
            let found = shown.iter().find(|(name, _)| *name == expected.0);
            assert_eq!(found.unwrap().1, expected.1, "{}", expected.0);
        }
    }
}
