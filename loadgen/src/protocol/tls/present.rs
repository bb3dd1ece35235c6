//! TLS by rustls with ring's cryptography.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, HandshakeKind, RootCertStore,
    SignatureScheme,
};

use super::tickets::Tickets;
use super::{Fault, Shaken};
use crate::load::tls::{Switch, Tls, is_pem};
use crate::load::{Load, ProtocolName};

/// Where systems keep the certificates of the authorities that they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// Who makes the sessions of one worker.
#[derive(Clone, Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    resume: Switch,
}

impl Client {
    /// The client that a load asks for; none if it asks for no TLS.
    ///
    /// # Errors
    /// A sentence: a name that is none, or a file that holds no certificates.
    pub fn of(load: &Load) -> Result<Option<Self>, String> {
        let Some(tls) = &load.tls else {
            return Ok(None);
        };
        let name = load.server_name();
        let server_name = ServerName::try_from(name.clone());
        let server_name = server_name.map_err(|_| {
            format!(
                "--tls: `{name}` is no name of a server: give the one of its certificate as --sni"
            )
        })?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("--tls: {error}"))?;
        let mut config = match tls.insecure {
            true => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
                .with_no_client_auth(),
            false => builder
                .with_root_certificates(authorities(tls)?)
                .with_no_client_auth(),
        };
        if load.protocol == ProtocolName::Http {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let client = Self {
            config: Arc::new(config),
            name: server_name,
            resume: tls.resume,
        };
        Ok(Some(client.for_worker()))
    }

    /// The same for another worker, with tickets of its own.
    #[must_use]
    pub fn for_worker(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = match self.resume {
            Switch::On => Resumption::store(Arc::new(Tickets::default())),
            Switch::Off => Resumption::disabled(),
        };
        Self {
            config: Arc::new(config),
            ..self.clone()
        }
    }

    /// A session for a new connection; its first words wait to be sent.
    #[must_use]
    pub fn session(&self) -> Session {
        let connection = ClientConnection::new(self.config.clone(), self.name.clone());
        Session {
            // Only a configuration without cipher suites, or a name that no extension can carry, is refused.
            connection: connection.expect("a configuration that rustls made"),
            is_ended: false,
        }
    }
}

/// The authorities that are trusted.
fn authorities(tls: &Tls) -> Result<RootCertStore, String> {
    let Some(path) = &tls.ca else {
        let mut found = BUNDLES.iter().map(Path::new).filter(|path| path.exists());
        let bundle = found.next().ok_or(
            "--tls: this machine keeps no certificates of authorities where they usually are: give --ca FILE, or \
             --insecure",
        )?;
        return read_authorities(bundle);
    };
    read_authorities(path)
}

fn read_authorities(path: &Path) -> Result<RootCertStore, String> {
    let name = match is_pem(path) {
        true => "PEM".into(),
        false => path.display().to_string(),
    };
    let said = |why: &dyn std::fmt::Display| format!("--ca {name}: {why}");
    let text = match is_pem(path) {
        true => path.as_os_str().as_encoded_bytes().to_vec(),
        false => fs::read(path).map_err(|error| said(&error))?,
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| said(&error))?;
        // A bundle may hold some that this library does not understand.
        let _ = store.add(certificate);
    }
    match store.is_empty() {
        true => Err(said(&"holds no certificate of an authority (PEM)")),
        false => Ok(store),
    }
}

/// A connection's session.
#[derive(Debug)]
pub struct Session {
    connection: ClientConnection,
    is_ended: bool,
}

impl Session {
    /// Whether the handshake is under way.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Takes in some of what came, and moves `input` behind it. What it means is to be read before more is taken in.
    ///
    /// # Errors
    /// [`Fault`]: it cannot go on; an alert that says so waits to be sent.
    pub fn receive(&mut self, input: &mut &[u8]) -> Result<(), Fault> {
        let taken = self.connection.read_tls(input);
        taken.map_err(|error| fault(&Error::General(error.to_string())))?;
        let state = self.connection.process_new_packets();
        self.is_ended = state.map_err(|error| fault(&error))?.peer_has_closed();
        Ok(())
    }

    /// Reads what was said, and how much; 0: no more has come.
    pub fn read(&mut self, plain: &mut [u8]) -> usize {
        // It would block, or the server has ended the session: `is_ended` tells.
        self.connection.reader().read(plain).unwrap_or(0)
    }

    /// Says something, and how much of it was taken.
    pub fn write(&mut self, plain: &[u8]) -> usize {
        self.connection.writer().write(plain).unwrap_or(0)
    }

    /// Whether there is something to be sent.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.connection.wants_write()
    }

    /// Sends as much of it as `out` takes.
    ///
    /// # Errors
    /// Those of `out`; of kind `WouldBlock`: it takes no more for now.
    pub fn send(&mut self, out: &mut dyn Write) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(out)?;
        }
        Ok(())
    }

    /// How the handshake ended.
    #[must_use]
    pub fn shaken(&self) -> Shaken {
        let version = self.connection.protocol_version();
        let suite = self.connection.negotiated_cipher_suite();
        let version = version.and_then(|version| version.as_str().map(str::to_owned));
        let suite = suite.and_then(|suite| suite.suite().as_str().map(str::to_owned));
        Shaken {
            is_resumed: self.connection.handshake_kind() == Some(HandshakeKind::Resumed),
            agreed: format!(
                "{} {}",
                version.unwrap_or_default(),
                suite.unwrap_or_default()
            ),
        }
    }

    /// Whether the server has said that nothing more follows.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Says that nothing more follows.
    pub fn end(&mut self) {
        self.connection.send_close_notify();
    }
}

fn fault(error: &Error) -> Fault {
    let (kind, words) = match error {
        Error::AlertReceived(alert) => (
            "TLS_ALERT",
            format!("the server sent the TLS alert {alert:?}"),
        ),
        Error::InvalidCertificate(why) => (
            "TLS_CERTIFICATE",
            format!("the server's certificate is refused: {why}{}", remedy(why)),
        ),
        Error::InvalidMessage(why) => (
            "TLS",
            format!("what the server said is no TLS ({why:?}): does it speak it at this port?"),
        ),
        other => ("TLS", other.to_string()),
    };
    Fault { kind, words }
}

/// What can be done about a certificate.
fn remedy(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::UnknownIssuer => " (give its authority as --ca FILE, or --insecure)",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            " (give the name that it is for as --sni)"
        }
        _ => "",
    }
}

/// Takes any certificate, but not just any signature: the key must be the one of the certificate that was sent.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
