//! `ACL`: the proxy has one user, who may do everything, and needs a password if the settings say
//! one. What the nodes allow the proxy's own user is their matter.

use slotway_protocol::command::{self, Command};
use slotway_protocol::resp::{Protocol, Request, encode};

use crate::engine::options::Options;

pub(super) fn who_am_i(options: &Options, out: &mut Vec<u8>) {
    encode::bulk(out, options.user().as_bytes());
}

pub(super) fn users(options: &Options, out: &mut Vec<u8>) {
    encode::array(out, 1);
    encode::bulk(out, options.user().as_bytes());
}

/// Of a password not even the hash is shown.
pub(super) fn list(options: &Options, out: &mut Vec<u8>) {
    encode::array(out, 1);
    let user = options.user();
    let nopass = if options.login.is_some() {
        ""
    } else {
        " nopass"
    };
    encode::bulk(
        out,
        format!("user {user} on{nopass} ~* &* +@all").as_bytes(),
    );
}

/// `ACL GETUSER username`
pub(super) fn user(name: &[u8], options: &Options, protocol: Protocol, out: &mut Vec<u8>) {
    if name != options.user().as_bytes() {
        return encode::null(out, protocol);
    }
    encode::map(out, protocol, 6);
    encode::bulk(out, b"flags");
    let flags: &[&str] = match options.login {
        Some(_) => &["on"],
        None => &["on", "nopass"],
    };
    encode::set(out, protocol, flags.len());
    flags
        .iter()
        .for_each(|flag| encode::bulk(out, flag.as_bytes()));
    encode::bulk(out, b"passwords");
    encode::array(out, 0);
    for (field, value) in [("commands", "+@all"), ("keys", "~*"), ("channels", "&*")] {
        encode::bulk(out, field.as_bytes());
        encode::bulk(out, value.as_bytes());
    }
    encode::bulk(out, b"selectors");
    encode::array(out, 0);
}

/// `ACL CAT [category]`
pub(super) fn categories(request: &Request<'_>, out: &mut Vec<u8>) {
    match request.len() {
        2 => write_names(&all_categories(), out),
        3 => write_commands(request.arg(2), out),
        _ => {
            let shown = String::from_utf8_lossy(request.arg(1));
            let text = format!(
                "ERR unknown subcommand or wrong number of arguments for '{shown}'. Try ACL HELP."
            );
            encode::error(out, text.as_bytes());
        }
    }
}

fn write_commands(category: &[u8], out: &mut Vec<u8>) {
    let is_asked = |name: &&str| name.as_bytes().eq_ignore_ascii_case(category);
    if !all_categories().iter().any(is_asked) {
        let text = [&b"ERR Unknown category '"[..], category, b"'"].concat();
        return encode::error(out, &text);
    }
    let names: Vec<&str> = all_commands()
        .filter(|command| command.categories.iter().any(|name| is_asked(&&name[1..])))
        .map(|command| command.name)
        .collect();
    write_names(&names, out);
}

fn write_names(names: &[&str], out: &mut Vec<u8>) {
    encode::array(out, names.len());
    for name in names {
        encode::bulk(out, name.as_bytes());
    }
}

/// Each category that some command is in, without its `@`.
fn all_categories() -> Vec<&'static str> {
    let mut names = Vec::new();
    for category in all_commands().flat_map(|command| command.categories) {
        if !names.contains(&&category[1..]) {
            names.push(&category[1..]);
        }
    }
    names
}

fn all_commands() -> impl Iterator<Item = &'static Command> {
    command::all()
        .iter()
        .flat_map(|command| core::iter::once(command).chain(command.subcommands))
}

/// `ACL DRYRUN username command [argument ...]`
pub(super) fn dry_run(request: &Request<'_>, options: &Options, out: &mut Vec<u8>) {
    let name = request.arg(2);
    if name != options.user().as_bytes() {
        let text = [&b"ERR User '"[..], name, b"' not found"].concat();
        return encode::error(out, &text);
    }
    let asked = request.arg(3);
    let known = command::lookup(asked).map(|container| match container.subcommands {
        [] => Some(container),
        _ if request.len() == 4 => Some(container),
        _ => container.subcommand(request.arg(4)),
    });
    let Some(Some(command)) = known else {
        let text = [&b"ERR Command '"[..], asked, b"' not found"].concat();
        return encode::error(out, &text);
    };
    if !command.accepts(request.len() - 3) {
        let name = command.name;
        let text = format!("ERR wrong number of arguments for '{name}' command");
        return encode::error(out, text.as_bytes());
    }
    encode::simple(out, b"OK");
}

#[cfg(test)]
mod tests {
    use super::super::tests::{reply, session};

    #[test]
    fn there_is_one_user() {
        for (request, expected) in [
            ("ACL WHOAMI", "$7\r\ndefault\r\n"),
            ("ACL USERS", "*1\r\n$7\r\ndefault\r\n"),
            (
                "ACL LIST",
                "*1\r\n$34\r\nuser default on nopass ~* &* +@all\r\n",
            ),
            ("ACL GETUSER DEFAULT", "$-1\r\n"),
            ("ACL DRYRUN default get k", "+OK\r\n"),
            ("ACL DRYRUN you get k", "-ERR User 'you' not found\r\n"),
            (
                "ACL DRYRUN default nosuch",
                "-ERR Command 'nosuch' not found\r\n",
            ),
            (
                "ACL DRYRUN default get",
                "-ERR wrong number of arguments for 'get' command\r\n",
            ),
        ] {
            assert_eq!(reply(&mut session(), request), expected, "{request}");
        }
    }

    #[test]
    fn categories_are_those_of_the_table() {
        let got = reply(&mut session(), "ACL CAT");
        assert!(got.starts_with("*21\r\n"), "{got}");
        let got = reply(&mut session(), "ACL CAT Transaction");
        for name in ["multi", "exec", "discard", "watch", "unwatch"] {
            assert!(got.contains(&format!("\r\n{name}\r\n")), "{got}");
        }
        assert!(got.starts_with("*5\r\n"), "{got}");
        assert_eq!(
            reply(&mut session(), "ACL CAT nosuch"),
            "-ERR Unknown category 'nosuch'\r\n"
        );
    }
}
