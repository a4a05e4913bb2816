//! TLS to a PostgreSQL server, with rustls.
//!
//! `sslmode=require` encrypts and believes any certificate, as libpq does; `verify-full` (and `verify-ca`, which is as strict here)
//! checks it against the operator's authorities, or the public ones, and the host's name.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as ClientStream;

/// Debian's public authorities, for client programs.
const PUBLIC: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The connections to a server that are encrypted.
#[derive(Clone)]
pub(super) struct PostgresTls {
    config: Arc<ClientConfig>,
    /// The file of the authorities; `None` if any certificate is believed.
    authorities: Option<PathBuf>,
}

impl PostgresTls {
    /// Takes the mode from a URL, which then has one that the driver knows. Returns `None` for a mode without TLS.
    ///
    /// # Errors
    ///
    /// The text says what is wrong with the mode or with the authorities.
    pub(super) fn of_url(url: &mut String, ca: Option<&Path>) -> Result<Option<Self>, String> {
        let value = |url: &str| {
            let (_, query) = url.split_once('?')?;
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let found = pairs.find(|(name, _)| *name == "sslmode");
            found.map(|(_, value)| value.to_owned())
        };
        let mode = value(url);
        match mode.as_deref() {
            None | Some("disable" | "prefer") if ca.is_some() => {
                Err("ca-file is for sslmode=verify-full in the URL".to_owned())
            }
            None | Some("disable" | "prefer") => Ok(None),
            Some("require") if ca.is_none() => Ok(Some(Self::unverified()?)),
            Some(mode @ ("require" | "verify-ca" | "verify-full")) => {
                *url = url.replacen(&format!("sslmode={mode}"), "sslmode=require", 1);
                Ok(Some(Self::verified(ca)?))
            }
            Some(_) => {
                Err("sslmode is disable, prefer, require, verify-ca or verify-full".to_owned())
            }
        }
    }

    fn unverified() -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        Ok(Self {
            config: Arc::new(config),
            authorities: None,
        })
    }

    fn verified(ca: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match ca {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                let fail = |error: String| format!("ca-file {}: {error}", path.display());
                let pem = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
                for certificate in CertificateDer::pem_slice_iter(&pem) {
                    let certificate = certificate.map_err(|error| fail(error.to_string()))?;
                    let added = roots.add(certificate);
                    added.map_err(|error| fail(error.to_string()))?;
                }
                if roots.is_empty() {
                    return Err(fail("it has no certificate in PEM".to_owned()));
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            config: Arc::new(config),
            authorities: Some(ca.unwrap_or(Path::new(PUBLIC)).to_owned()),
        })
    }

    /// Returns the environment of client programs.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        match &self.authorities {
            None => vec![("PGSSLMODE", "require".to_owned())],
            Some(file) => vec![
                ("PGSSLMODE", "verify-full".to_owned()),
                ("PGSSLROOTCERT", file.display().to_string()),
            ],
        }
    }
}

impl MakeTlsConnect<Socket> for PostgresTls {
    type Stream = PostgresTlsStream;
    type TlsConnect = PostgresTlsConnect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<PostgresTlsConnect> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(PostgresTlsConnect {
            connector: self.config.clone().into(),
            name,
        })
    }
}

/// A connection that is about to be encrypted.
pub(super) struct PostgresTlsConnect {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for PostgresTlsConnect {
    type Stream = PostgresTlsStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<PostgresTlsStream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let stream = self.connector.connect(self.name, socket).await?;
            Ok(PostgresTlsStream(stream))
        })
    }
}

/// An encrypted connection.
pub(super) struct PostgresTlsStream(ClientStream<Socket>);

impl AsyncRead for PostgresTlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for PostgresTlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl TlsStream for PostgresTlsStream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

/// Believes any certificate, whose owner must have its key.
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
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.0.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_is_taken_from_the_url() {
        let read = |url: &str| {
            let mut url = url.to_owned();
            let tls = PostgresTls::of_url(&mut url, None);
            (tls.map(|tls| tls.map(|tls| tls.environment())), url)
        };
        for plain in ["postgres://a@b/c", "postgres://a@b/c?sslmode=disable"] {
            assert_eq!(read(plain), (Ok(None), plain.to_owned()));
        }
        let (tls, _) = read("postgres://a@b/c?sslmode=require");
        assert_eq!(tls.unwrap().unwrap(), [("PGSSLMODE", "require".to_owned())]);
        let (tls, url) = read("postgres://a@b/c?x=y&sslmode=verify-full");
        assert_eq!(tls.unwrap().unwrap()[0].1, "verify-full");
        assert_eq!(url, "postgres://a@b/c?x=y&sslmode=require");
        assert!(read("postgres://a@b/c?sslmode=maybe").0.is_err());
        let mut url = "postgres://a@b/c".to_owned();
        assert!(PostgresTls::of_url(&mut url, Some(Path::new("/x"))).is_err());
    }
}
