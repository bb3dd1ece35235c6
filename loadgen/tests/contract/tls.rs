//! TLS as a client, against nginx and OpenSSL; without the feature, how to get it.

use loadgen::load::tls::{HOW_TO_BUILD, IS_BUILT_IN};

use crate::common::{Behaviour, Fixture, loadgen};

#[test]
fn a_build_without_tls_says_how_to_get_it() {
    if IS_BUILT_IN {
        return println!("skipped: this build has TLS");
    }
    let fixture = Fixture::start(Behaviour::Echo);
    let output = loadgen(fixture.address, &["--tls"]).output();
    let output = output.expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(HOW_TO_BUILD), "{said}");
}

#[cfg(feature = "tls")]
mod built_in {
    use std::net::SocketAddr;
    use std::path::Path;
    use std::process::Command;

    use loadgen::tally::outcome::Outcome;

    use crate::answers::answering;
    use crate::common::{Guard, loadgen, outcome_of};
    use crate::targets::{free_port, start};

    /// An authority, and a certificate of it for localhost; or why there is none.
    const MAKE: &str = "\
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2 \
          -subj /CN=authority && \
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out request.pem \
          -subj /CN=localhost && \
        printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' >extensions && \
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions \
          -out cert.pem";

    fn certificates(folder: &Path) -> Result<(), String> {
        let mut command = Command::new("sh");
        let output = command.args(["-c", MAKE]).current_dir(folder).output();
        let output = output.expect("a shell");
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// nginx with a small page and a large one, over TLS; `None` with a printed reason where it, or openssl, is not here.
    fn nginx(folder: &Path, versions: &str, salt: u32) -> Option<(Guard, SocketAddr)> {
        if let Err(why) = certificates(folder) {
            println!("skipped: openssl: {why}");
            return None;
        }
        let port = free_port(salt);
        let root = folder.join("root");
        std::fs::create_dir(&root).expect("a folder");
        std::fs::write(root.join("index.html"), "hello\n").expect("written");
        std::fs::write(root.join("large.txt"), "0123456789\n".repeat(50_000)).expect("written");
        let folder = folder.display().to_string();
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; events {{ worker_connections 256; }}\n\
             http {{ access_log off; server {{ listen 127.0.0.1:{port} ssl; ssl_protocols {versions};\n\
             ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;\n\
             ssl_session_cache shared:a:1m; keepalive_requests 1000000; root {folder}/root; }} }}\n"
        );
        let path = format!("{folder}/nginx.conf");
        std::fs::write(&path, config).expect("written");
        let mut command = Command::new("nginx");
        command.args(["-p", &folder, "-c", &path, "-e", "error.log"]);
        start(command, port)
    }

    fn load(address: SocketAddr, args: &[&str]) -> Outcome {
        let times = ["--tls", "--duration", "300ms"];
        outcome_of(&mut loadgen(address, &[args, &times].concat())).0
    }

    fn assert_served(outcome: &Outcome) {
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
        assert!(outcome.requests.completed > 3, "{:?}", outcome.requests);
        let tls = outcome.tls.as_ref().expect("TLS");
        assert!(tls.completed >= outcome.connections.served, "{tls:?}");
        assert!(outcome.latency_ns.handshake.count > 0);
    }

    #[test]
    fn nginx_is_asked_over_both_versions_and_sessions_are_resumed() {
        for (versions, agreed, salt) in [("TLSv1.3", "TLSv1_3 ", 1), ("TLSv1.2", "TLSv1_2 ", 2)] {
            let folder = tempfile::tempdir().expect("a folder");
            let Some((_server, address)) = nginx(folder.path(), versions, 14_000 + salt * 500)
            else {
                return;
            };
            let ca = folder.path().join("ca.pem").display().to_string();
            let http = ["--protocol", "http", "--ca", &ca, "--conns", "4"];
            let outcome = load(address, &http);
            assert_served(&outcome);
            let tls = outcome.tls.expect("TLS");
            assert!(
                tls.agreed.keys().all(|words| words.starts_with(agreed)),
                "{tls:?}"
            );
            assert_served(&load(
                address,
                &[&http[..], &["--path", "/large.txt"]].concat(),
            ));
            let pipelined = ["--pipeline", "8", "--sni", "localhost", "--idle", "2"];
            assert_served(&load(address, &[&http[..], &pipelined].concat()));
            let short = [&http[..], &["--requests-per-conn", "1"]].concat();
            let outcome = load(address, &short);
            assert_served(&outcome);
            let tls = outcome.tls.expect("TLS");
            assert!(tls.resumed > tls.completed / 2, "{tls:?}");
            let fresh = load(address, &[&short[..], &["--tls-resume", "off"]].concat());
            assert_served(&fresh);
            assert_eq!(fresh.tls.expect("TLS").resumed, 0);
        }
    }

    #[test]
    fn handshakes_that_fail_are_counted_by_their_cause() {
        let folder = tempfile::tempdir().expect("a folder");
        let Some((_server, address)) = nginx(folder.path(), "TLSv1.3", 16_000) else {
            return;
        };
        let ca = folder.path().join("ca.pem").display().to_string();
        let plain = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
        let table: [(SocketAddr, &[&str], &str, &str); 4] = [
            (address, &["--insecure"], "", ""),
            (address, &[], "TLS_CERTIFICATE", "--ca FILE"),
            (
                address,
                &["--ca", &ca, "--sni", "other.test"],
                "TLS_CERTIFICATE",
                "--sni",
            ),
            (answering(vec![plain]), &["--insecure"], "TLS", "is no TLS"),
        ];
        for (address, args, kind, words) in table {
            let outcome = load(address, &[args, &["--protocol", "http"]].concat());
            if kind.is_empty() {
                assert_served(&outcome);
                continue;
            }
            assert_eq!(outcome.connections.served, 0, "{args:?}");
            let failure = &outcome.failures[0];
            assert_eq!(failure.kind, kind, "{failure:?}");
            assert!(failure.first.contains(words), "{failure:?}");
            assert_eq!(outcome.tls.expect("TLS").completed, 0);
        }
    }

    #[test]
    fn an_own_protocol_is_spoken_over_tls() {
        let folder = tempfile::tempdir().expect("a folder");
        if let Err(why) = certificates(folder.path()) {
            return println!("skipped: openssl: {why}");
        }
        let port = free_port(17_000);
        let mut command = Command::new("openssl");
        // It returns every line reversed.
        command.args(["s_server", "-rev", "-quiet", "-accept", &port.to_string()]);
        command
            .args(["-cert", "cert.pem", "-key", "key.pem"])
            .current_dir(folder.path());
        let Some((_server, address)) = start(command, port) else {
            return;
        };
        let own = [
            "--send",
            "abc{seq:4}\\n",
            "--expect",
            "line:^[0-9]{4}cba$",
            "--insecure",
        ];
        let outcome = load(address, &own);
        assert_served(&outcome);
    }
}
