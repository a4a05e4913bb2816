//! Certificates for TLS tests: self-signed ones, and those of a certificate authority.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A self-signed certificate with its private key.
#[derive(Debug)]
pub struct SelfSigned {
    certificate: Certificate,
    key: KeyPair,
}

impl SelfSigned {
    /// Makes a certificate for `names`.
    pub fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        Self::with_params(&CertificateParams::new(names).unwrap())
    }

    /// Makes a certificate with these parameters.
    pub fn with_params(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, key }
    }

    /// Returns the certificate in DER.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// Returns the private key in DER.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    /// Returns the certificate in PEM.
    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// Returns the private key in PEM.
    pub fn private_key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Returns the configuration of a server that presents the certificate.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate()], self.private_key())
            .unwrap();
        Arc::new(config)
    }
}

/// A certificate authority that writes its certificates to a directory.
pub struct CertificateAuthority {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Name of the file with the root certificate of an authority.
const ROOT: &str = "root.pem";

impl CertificateAuthority {
    /// Makes an authority and writes its root certificate to `root.pem` in `directory`.
    pub fn new(directory: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "Root of a test");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(directory.join(ROOT), issuer.pem()).unwrap();
        Self {
            directory: directory.to_owned(),
            issuer,
        }
    }

    /// Writes `FILE.pem` and `FILE.key`: a certificate for `names` that expires at the start of `year`.
    pub fn issue(&self, file: &str, names: &[&str], year: i32) {
        self.issue_until(file, names, (year, 1, 1));
    }

    /// Writes a certificate for `names` that expires at the start of a day, given as year, month and day.
    pub fn issue_until(&self, file: &str, names: &[&str], until: (i32, u8, u8)) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(&format!("{file}.pem"), &certificate.pem());
        self.write(&format!("{file}.key"), &key.serialize_pem());
    }

    /// Writes a file to the directory.
    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.directory.join(file), text).unwrap();
    }

    /// Requests `https://HOST:PORT/` with curl, which trusts this authority only.
    ///
    /// Returns curl's exit status and its output. Status 35 is a handshake that the server refused.
    pub fn curl(&self, port: u16, host: &str, options: &[&str]) -> (i32, String) {
        self.curl_with_root(ROOT, port, host, options)
    }

    /// Requests `https://HOST:PORT/` with curl, which trusts the root certificate in `root` of the directory.
    pub fn curl_with_root(
        &self,
        root: &str,
        port: u16,
        host: &str,
        options: &[&str],
    ) -> (i32, String) {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--cacert"])
            .arg(self.directory.join(root))
            .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
            .args(options)
            .arg(format!("https://{host}:{port}/"))
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }
}
