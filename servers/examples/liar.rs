//! A server that misbehaves in the way its file name says, for the harness's tests: the harness must call it
//! `crashed`, `hung` or `wrong`, whatever model it pretends to be.
//!
//! `select` answers wrong bytes, `poll` ends in the middle of the load, `epoll` falls silent in the middle of the
//! load, `thread` never says that it is ready, `process` ends before it is, `epoll-et` shares its port with a server
//! that somebody left behind.

use servers::ledger::{Ledger, Slot};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Replies after which a misbehaviour that needs a start begins: after the probe and the ramp, and so few that a
/// loaded machine gets there.
const GOOD_REPLIES: u64 = 100;

static REPLIES: AtomicU64 = AtomicU64::new(0);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let role = Path::new(&args[0])
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
        .to_string();
    match role.as_str() {
        "thread" => std::thread::sleep(Duration::from_secs(60)),
        "process" => {
            eprintln!("no luck today");
            std::process::exit(7);
        }
        _ => {}
    }
    let file = args.windows(2).find(|pair| pair[0] == "--ledger");
    let file = file.map(|pair| PathBuf::from(&pair[1]));
    let ledger =
        Ledger::create(file.as_deref(), &role, 1).expect("the harness's folder is writable");
    let addr = args.windows(2).find(|pair| pair[0] == "--listen");
    let addr = addr.map_or("127.0.0.1:0", |pair| &pair[1]);
    let listener = listen(addr.parse().expect("an address"));
    let addr = listener.local_addr().expect("it is bound");
    if role == "epoll-et" {
        leave_behind(listen(addr));
    }
    println!("listening {addr}");
    for stream in listener.incoming().flatten() {
        let (role, slot) = (role.clone(), ledger.slot(0));
        slot.accepted(1);
        std::thread::spawn(move || {
            serve(stream, &role, slot);
            slot.closed(1);
        });
    }
}

fn listen(addr: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("SO_REUSEPORT");
    socket.bind(&addr.into()).expect("a port");
    socket.listen(1024).expect("a listener");
    socket.into()
}

/// The kernel gives it about half of the connections, of which our ledger knows nothing.
fn leave_behind(listener: TcpListener) {
    let unseen = Ledger::create(None, "left behind", 1).expect("memory");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let slot = unseen.slot(0);
            std::thread::spawn(move || serve(stream, "left behind", slot));
        }
    });
}

fn serve(mut stream: TcpStream, role: &str, slot: Slot) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        slot.bytes_in(n as u64);
        if REPLIES.fetch_add(1, Ordering::Relaxed) >= GOOD_REPLIES {
            match role {
                "epoll-et" | "left behind" => {}
                "select" => buffer[n - 1] ^= 1,
                "poll" => std::process::exit(9),
                _ => std::thread::sleep(Duration::from_secs(60)),
            }
        }
        if stream.write_all(&buffer[..n]).is_err() {
            return;
        }
        slot.bytes_out(n as u64);
    }
}
