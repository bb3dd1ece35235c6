//! The tutorial's client: a prompt, a line to the server, its reply; `quit` ends.

use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use encoding_rs::Encoding;
use ipnet::IpNet;

use super::Failure;
use crate::base::address::Address;
use crate::base::error::in_a_sentence;
use crate::load::permitted_target;

/// How long each of several addresses is given to accept the connection.
const CONNECT: Duration = Duration::from_secs(3);

/// How long a reply is waited for; a discard server sends none.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) fn execute(target: &str, name: &str, allowed: &[IpNet]) -> Result<(), Failure> {
    let target = permitted_target(target, allowed, CONNECT).map_err(Failure::usage)?;
    let encoding = encoding(name).map_err(Failure::usage)?;
    match talk(&target, encoding, io::stdin().lock(), io::stdout().lock()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let sentence = format!("{target}: {error}");
            Err(Failure::run(in_a_sentence(error, sentence)))
        }
        _ => Ok(()),
    }
}

/// The encoding of this name (WHATWG labels: utf-8, gbk, big5 …).
///
/// # Errors
/// A sentence for an unknown name.
pub fn encoding(name: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label(name.as_bytes())
        .ok_or_else(|| format!("`{name}` is not a character set (try utf-8 or gbk)"))
}

/// Holds the conversation until `quit`, the end of the input or of the connection.
///
/// # Errors
/// Those of connecting, and of writing to the server or to `output`.
pub fn talk(
    target: &Address,
    encoding: &'static Encoding,
    mut input: impl BufRead,
    mut output: impl Write,
) -> io::Result<()> {
    let mut server = target.connect(CONNECT)?;
    server.set_read_timeout(Some(PATIENCE))?;
    writeln!(output, "connect {target} success")?;
    let mut line = String::new();
    loop {
        write!(output, ">>")?;
        output.flush()?;
        line.clear();
        if input.read_line(&mut line)? == 0 || line.trim_end_matches(['\r', '\n']) == "quit" {
            break;
        }
        let text = line.trim_end_matches(['\r', '\n']);
        let (bytes, _, _) = encoding.encode(text);
        server.write_all(&bytes)?;
        if !show_reply(&mut server, encoding, bytes.len(), &mut output)? {
            writeln!(output, "the server closed the connection")?;
            return Ok(());
        }
    }
    // The server may be gone already; there is nothing left to say to it.
    let _ = server.shutdown(Shutdown::Both);
    Ok(())
}

/// Shows what comes back until as much has come as was sent, or patience ends;
/// false if the server closed.
fn show_reply(
    server: &mut TcpStream,
    encoding: &'static Encoding,
    sent: usize,
    output: &mut impl Write,
) -> io::Result<bool> {
    let (mut reply, mut buffer) = (Vec::new(), [0; 4096]);
    let mut open = true;
    while reply.len() < sent.max(1) {
        match server.read(&mut buffer) {
            Ok(0) => {
                open = false;
                break;
            }
            Ok(length) => reply.extend_from_slice(&buffer[..length]),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if !reply.is_empty() {
        writeln!(output, "{}", encoding.decode(&reply).0)?;
    }
    Ok(open)
}
