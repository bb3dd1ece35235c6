//! What stands in braces in the command of a server, and the name that a command is known by.

use crate::base::error::{Failure, did_you_mean};
use loadgen::base::address::Address;

/// What is filled in.
const KNOWN: [&str; 5] = ["addr", "host", "port", "socket", "dir"];

/// A piece of a command.
enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
    /// `{{word}}`, for a command that needs `{word}` itself.
    Literal(&'a str),
}

/// The text with the address that the server is to listen at, and the current folder, filled in.
pub fn filled_in(text: &str, addr: &Address, folder: &str) -> String {
    let ip = addr.socket_addr();
    let of_ip = |part: fn(std::net::SocketAddr) -> String| ip.map(part).unwrap_or_default();
    let of = |piece: Piece| match piece {
        Piece::Text(text) => text.to_string(),
        Piece::Literal(word) => format!("{{{word}}}"),
        Piece::Placeholder("addr") => addr.to_string(),
        Piece::Placeholder("host") => of_ip(|ip| ip.ip().to_string()),
        Piece::Placeholder("port") => of_ip(|ip| ip.port().to_string()),
        Piece::Placeholder("socket") => match addr {
            Address::Unix(path) => path.display().to_string(),
            Address::Ip(_) => String::new(),
        },
        Piece::Placeholder("dir") => folder.to_string(),
        Piece::Placeholder(other) => format!("{{{other}}}"),
    };
    pieces(text).into_iter().map(of).collect()
}

/// Whether the command is told the path of a Unix socket to listen at.
pub fn names_socket(command: &str) -> bool {
    let is_socket = |piece: &Piece| matches!(piece, Piece::Placeholder("socket"));
    pieces(command).iter().any(is_socket)
}

/// Refuses a command that cannot be meant: an empty one, one with a placeholder that there is none of, and one that is
/// not told where to listen, neither by itself nor by its variables.
pub fn check(flag: &str, command: &str, variables: &[(String, String)]) -> Result<(), Failure> {
    if command.trim().is_empty() {
        return Err(Failure::usage(format!("{flag}: the command is empty")));
    }
    let texts =
        || std::iter::once(command).chain(variables.iter().map(|(_, value)| value.as_str()));
    let placeholders = || {
        texts().flat_map(pieces).filter_map(|piece| match piece {
            Piece::Placeholder(word) => Some(word),
            _ => None,
        })
    };
    if let Some(word) = placeholders().find(|word| !KNOWN.contains(word)) {
        return Err(Failure::usage(format!(
            "{flag}: {{{word}}} is none of {{addr}}, {{host}}, {{port}}, {{socket}} and {{dir}}{}; a command that needs it as it \
             is says {{{{{word}}}}}",
            did_you_mean(word, KNOWN)
        )));
    }
    let names = |words: &[&str]| placeholders().any(|word| words.contains(&word));
    if names(&["socket"]) && names(&["addr", "host", "port"]) {
        return Err(Failure::usage(format!(
            "{flag}: the command names {{socket}}, the path of a Unix socket, and an address as well: give one of the two"
        )));
    }
    if !names(&["addr", "port", "socket"]) {
        return Err(Failure::usage(format!(
            "{flag}: the command names neither {{addr}} nor {{port}}: every trial has another port, and the server must \
             be told (--env PORT={{port}} tells it by a variable; --target measures one that runs already)"
        )));
    }
    Ok(())
}

/// Words in single braces, but for those of a shell (`${HOME}`).
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(open) = text[at..].find('{').map(|open| at + open) {
        let doubled = text[open..].starts_with("{{");
        let inner = open + 1 + usize::from(doubled);
        let length = text[inner..]
            .find(|c: char| !c.is_ascii_lowercase())
            .unwrap_or(0);
        let close = if doubled { "}}" } else { "}" };
        let is_shells = text[..open].ends_with('$');
        if length == 0 || is_shells || !text[inner + length..].starts_with(close) {
            at = inner;
            continue;
        }
        let word = &text[inner..inner + length];
        pieces.push(Piece::Text(&text[start..open]));
        pieces.push(if doubled {
            Piece::Literal(word)
        } else {
            Piece::Placeholder(word)
        });
        start = inner + length + close.len();
        at = start;
    }
    pieces.push(Piece::Text(&text[start..]));
    pieces
}

/// Words before a program's name that are not it.
const WRAPPERS: [&str; 9] = [
    "exec", "env", "nohup", "command", "time", "setsid", "sudo", "chrt", "stdbuf",
];

/// The program that a command starts, without its folders: after what is assigned, wrapped around it, or done before.
pub fn program_name(command: &str) -> String {
    let words = words(command);
    let mut commands = words.split(|word| matches!(word.as_str(), ";" | "&"));
    let last = commands.rfind(|words| !words.is_empty());
    let first_of_pipe = last.unwrap_or_default().split(|word| word == "|").next();
    let is_name = |word: &&String| {
        let is_assignment = word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        let is_bracket = matches!(word.as_str(), "(" | ")" | "{" | "}");
        !is_assignment
            && !is_bracket
            && !WRAPPERS.contains(&word.as_str())
            && !word.starts_with(['-', '<', '>'])
    };
    let program = first_of_pipe.unwrap_or_default().iter().find(is_name);
    let name = program.and_then(|program| program.rsplit('/').find(|part| !part.is_empty()));
    name.unwrap_or("command").to_string()
}

/// The words of a command, and what divides commands, as a shell would read the simple ones.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut end = |word: &mut String| {
        if !word.is_empty() {
            words.push(std::mem::take(word));
        }
    };
    for c in command.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c.is_whitespace() => end(&mut word),
            None if ";&|()".contains(c) => {
                end(&mut word);
                end(&mut c.to_string());
            }
            _ => word.push(c),
        }
    }
    end(&mut word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in_and_everything_else_stays() {
        let addr = "127.0.0.1:80".parse().unwrap();
        let filled = |text| filled_in(text, &addr, "/src");
        let six = "[::1]:80".parse().unwrap();
        assert_eq!(
            filled_in("{addr} {host} {port}", &six, ""),
            "[::1]:80 ::1 80"
        );
        let path = "unix:/tmp/s".parse().unwrap();
        assert_eq!(filled_in("x -s {socket}", &path, ""), "x -s /tmp/s");
        assert!(names_socket("x -s {socket}") && !names_socket("x {{socket}} {port}"));
        assert_eq!(
            filled("{dir}/x -p {port} {addr}{host}"),
            "/src/x -p 80 127.0.0.1:80127.0.0.1"
        );
        for same in ["${HOME} {a,b} { x; } {} {1} {", "awk '{ print }'"] {
            assert_eq!(filled(same), same);
        }
        assert_eq!(filled("awk '{{print}}'"), "awk '{print}'");
        assert_eq!(filled("€{port}€{"), "€80€{");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_write() {
        let refused = |command| check("--server", command, &[]).unwrap_err().message;
        assert!(refused("").contains("empty"));
        assert!(refused(" \n").contains("empty"));
        let misspelt = refused("x {prot}");
        assert!(
            misspelt.contains("did you mean `port`") && misspelt.contains("{{prot}}"),
            "{misspelt}"
        );
        assert!(refused("./server --port 80").contains("neither {addr} nor {port}"));
        assert!(check("--server", "x {port} | awk '{{print}}'", &[]).is_ok());
        assert!(check("--server", "x", &[("PORT".into(), "{port}".into())]).is_ok());
        assert!(check("--server", "x {port}", &[("A".into(), "{adr}".into())]).is_err());
        assert!(check("--server", "x {socket}", &[]).is_ok());
        assert!(refused("x {socket} {port}").contains("give one of the two"));
    }

    #[test]
    fn a_command_is_called_after_the_program_that_it_starts() {
        for (command, name) in [
            ("/usr/bin/nc -l {addr}", "nc"),
            ("FOO=1 exec ./x --port {port}", "x"),
            ("env A=1 B= ./x", "x"),
            ("cd {dir} && exec ./server {port}", "server"),
            ("(setsid ./y {port} &) ; sleep 1", "sleep"),
            ("sleep 12; exec nginx -g 'daemon off;'", "nginx"),
            ("./a {port} | ./b", "a"),
            ("nohup -- ./z", "z"),
            ("'./my server' {port}", "my server"),
            ("", "command"),
            ("A=1", "command"),
        ] {
            assert_eq!(program_name(command), name, "{command}");
        }
    }
}
