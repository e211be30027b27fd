//! TLS by rustls, with the meanings that libpq gives to its `sslmode`.
//!
//! The cryptography is ring's, named wherever it is needed: a default of the process is not touched.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use ring::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};

use crate::commit::deadline::Deadline;
use crate::error::{Error, Status};
use crate::postgres::failure::Failure;
use crate::postgres::host::{Host, Location};
use crate::postgres::parameters::{Parameters, RootCertificates, SslMode, SslNegotiation};
use crate::postgres::socket::{PlainSocket, broken, check, is_transient};

/// Where systems keep the certificates that they trust.
const SYSTEM_ROOTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A connection within TLS.
#[derive(Debug)]
pub struct TlsStream {
    connection: ClientConnection,
    socket: PlainSocket,
}

impl TlsStream {
    /// Begins TLS on a connection, and finds out whether the server may be trusted.
    pub fn begin(
        socket: PlainSocket,
        host: &Host,
        parameters: &Parameters,
        deadline: &Deadline,
    ) -> Result<Self, Failure> {
        let name = server_name(host).map_err(Failure::Stopped)?;
        let config = config(host, parameters).map_err(Failure::Stopped)?;
        let connection = ClientConnection::new(Arc::new(config), name);
        let mut connection = connection.map_err(|error| Failure::Broken(error.to_string()))?;
        let mut socket = socket;
        while connection.is_handshaking() {
            match connection.complete_io(&mut socket) {
                Ok((0, 0)) => return Err(Failure::Broken("the server closed it".to_owned())),
                Ok(_) => {}
                Err(error) if is_transient(&error) => check(deadline)?,
                Err(error) => return Err(untrusted(&error)),
            }
        }
        Ok(TlsStream { connection, socket })
    }

    /// Returns the socket below.
    pub fn socket(&self) -> &PlainSocket {
        &self.socket
    }

    /// Returns the hash of the server's certificate that binds a password's exchange to this
    /// connection (RFC 5929, tls-server-end-point). Some certificates have none.
    pub fn server_end_point(&self) -> Option<Vec<u8>> {
        let certificate = self.connection.peer_certificates()?.first()?;
        let algorithm = match signature_oid(certificate)? {
            // SHA-1 and SHA-256 with RSA; SHA-1 and SHA-256 with ECDSA.
            [42, 134, 72, 134, 247, 13, 1, 1, 5 | 11] | [42, 134, 72, 206, 61, 4, 1] => {
                &digest::SHA256
            }
            [42, 134, 72, 206, 61, 4, 3, 2] => &digest::SHA256,
            [42, 134, 72, 134, 247, 13, 1, 1, 12] | [42, 134, 72, 206, 61, 4, 3, 3] => {
                &digest::SHA384
            }
            [42, 134, 72, 134, 247, 13, 1, 1, 13] | [42, 134, 72, 206, 61, 4, 3, 4] => {
                &digest::SHA512
            }
            _ => return None,
        };
        Some(digest::digest(algorithm, certificate).as_ref().to_vec())
    }
}

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut self.connection, &mut self.socket).read(buffer)
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut self.connection, &mut self.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        rustls::Stream::new(&mut self.connection, &mut self.socket).flush()
    }
}

/// Returns the failure of a handshake. A certificate that is not trusted stays so.
fn untrusted(error: &io::Error) -> Failure {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(_)) => Failure::Untrusted(format!(
            "{error} (sslrootcert names the file of the authority to trust; sslmode=require \
             encrypts without looking whom it is for)"
        )),
        _ => broken(error),
    }
}

fn server_name(host: &Host) -> Result<ServerName<'static>, Error> {
    let Location::Network(name, _) = &host.location else {
        return Err(Error::invalid(format!("{host}: a Unix socket has no TLS")));
    };
    ServerName::try_from(name.clone())
        .map_err(|_| Error::invalid(format!("{host}: TLS needs the name or the address of a host")))
}

fn config(host: &Host, parameters: &Parameters) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(parameters.ssl_mode(host), parameters, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Status::Internal, error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &parameters.client_certificate {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let chain = certificates(&files.certificate, "sslcert")?;
            let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| {
                Error::invalid(format!("sslkey: {}: {error}", files.key.display()))
            })?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| Error::invalid(format!("sslcert: {error}")))?
        }
    };
    if parameters.ssl_negotiation == SslNegotiation::Direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(config)
}

fn certificates(path: &Path, name: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Error::invalid(format!("{name}: {}: has no certificate", path.display()))),
        Err(error) => Err(Error::invalid(format!("{name}: {}: {error}", path.display()))),
    }
}

fn verifier(
    mode: SslMode,
    parameters: &Parameters,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let (mut trusted, mut by_authority) = (Vec::new(), None);
    if mode >= SslMode::VerifyCa {
        trusted = match &parameters.root_certificates {
            RootCertificates::File(path) => certificates(path, "sslrootcert")?,
            RootCertificates::System => {
                let path = SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
                let path = path.ok_or_else(|| {
                    Error::invalid(
                        "sslrootcert: the system has no file of trusted authorities: name one",
                    )
                })?;
                certificates(path, "sslrootcert")?
            }
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().cloned());
        let built = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
        by_authority = Some(built.build().map_err(|error| {
            Error::invalid(format!("sslrootcert: no certificate of it can be used: {error}"))
        })?);
    }
    Ok(Arc::new(Verifier { mode, trusted, by_authority, provider: provider.clone() }))
}

/// Decides whether a server's certificate is good enough for a `sslmode`.
#[derive(Debug)]
struct Verifier {
    mode: SslMode,
    /// The certificates of the authorities. One of them may be the server's own.
    trusted: Vec<CertificateDer<'static>>,
    /// `None` if any certificate will do.
    by_authority: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(by_authority) = &self.by_authority else {
            return Ok(ServerCertVerified::assertion());
        };
        if self.trusted.iter().any(|own| own.as_ref() == end_entity.as_ref()) {
            // A certificate that signs itself is no authority's, but it is the one that is trusted.
            if self.mode == SslMode::VerifyFull {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&parsed, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let verified = by_authority.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // The name is looked at last: everything else is in order.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.mode == SslMode::VerifyCa => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Returns the identifier of the algorithm by which a certificate is signed: the first member of
/// the second member of its outer sequence.
fn signature_oid(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const OID: u8 = 0x06;
    let (tag, outer, _) = element(certificate)?;
    let (_, _, rest) = element(outer).filter(|_| tag == SEQUENCE)?;
    let (tag, algorithm, _) = element(rest)?;
    let (inner, oid, _) = element(algorithm).filter(|_| tag == SEQUENCE)?;
    (inner == OID).then_some(oid)
}

/// Splits DER into the tag and the content of its first element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_algorithm_of_a_signature_is_found() {
        let body = [0x30, 0x81, 0x03, 1, 2, 3];
        let algorithm = [0x30, 0x04, 0x06, 0x02, 42, 7];
        let mut certificate = vec![0x30, (body.len() + algorithm.len()) as u8];
        certificate.extend([&body[..], &algorithm].concat());
        assert_eq!(signature_oid(&certificate), Some(&[42, 7][..]));
        // Cut short anywhere, there is none.
        for end in 0..certificate.len() {
            assert_eq!(signature_oid(&certificate[..end]), None);
        }
    }
}
