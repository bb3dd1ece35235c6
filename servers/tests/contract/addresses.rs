//! Where servers listen: IPv6 and Unix sockets besides IPv4.

use std::os::unix::net::UnixStream;

use crate::support::*;

/// What is served does not depend on how clients come; `SO_REUSEPORT` is TCP's alone.
pub fn every_family_of_addresses(model: &str) {
    match std::net::TcpListener::bind("[::1]:0") {
        Err(error) => println!("skipped: no IPv6 here: {error}"),
        Ok(_) => {
            let mut server = spawn(model).listen("[::1]:0").start();
            assert!(server.addr.is_ipv6());
            assert_echo(&mut server.connect(), &pattern(70_000));
            server.assert_well();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let address = format!("unix:{}", path.display());
    if model == "reuseport" {
        let refused = run(model, &["--listen", &address]);
        assert_eq!(refused.status.code(), Some(4), "{refused:?}");
        return;
    }
    // A second server takes over what a killed one has left behind.
    for _ in 0..2 {
        let mut server = spawn(model).listen(&address).start();
        assert_eq!(server.path.as_deref(), Some(path.as_path()));
        assert_echo(&mut server.connect(), &pattern(70_000));
        server.assert_well();
        assert!(server.tally().bytes_in >= 70_000);
        drop(server);
        // Workers of the killed one hold its socket until the kernel has ended them as well.
        wait_until(
            || UnixStream::connect(&path).is_err(),
            || "its workers to let go of their socket".to_string(),
        );
    }
}
