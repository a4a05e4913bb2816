//! `certs`, `certs:add`, `certs:update`, `certs:info` and `certs:remove`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use corundum_api::sni_endpoint::{SniEndpointCreate, SniEndpointResource, SslCert};

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path, segment};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;
use crate::units::NONE;

/// Commands about certificates.
#[derive(Subcommand)]
pub enum CertsCommand {
    /// List the certificates
    ///
    /// Prints the certificates that the node presents for the app's hosts on its https listener, never their private keys.
    Certs {
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Add a certificate
    ///
    /// The node presents it at once for those of its names that are the app's domains; open connections go on. The
    /// certificate must not have expired, the key must belong to it, and intermediate certificates must follow it in its
    /// file.
    ///
    /// Example: corundum certs:add fullchain.pem privkey.pem
    #[command(name = "certs:add")]
    Add {
        #[command(flatten)]
        files: CertificateFiles,
        /// Name of the certificate [default: a random one]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        app: AppOption,
    },
    /// Replace a certificate
    ///
    /// Example: corundum certs:update fullchain.pem privkey.pem --name amber-brook-12345
    #[command(name = "certs:update")]
    Update {
        #[command(flatten)]
        files: CertificateFiles,
        #[command(flatten)]
        certificate: CertificateOption,
    },
    /// Show a certificate
    #[command(name = "certs:info")]
    Info {
        #[command(flatten)]
        certificate: CertificateOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Remove a certificate
    ///
    /// The node refuses TLS connections to its hosts from then on, unless another certificate names them.
    #[command(name = "certs:remove")]
    Remove {
        #[command(flatten)]
        certificate: CertificateOption,
    },
}

/// The files of a certificate.
#[derive(Args)]
pub struct CertificateFiles {
    /// Certificate in PEM, followed by its issuers' certificates
    certificate: PathBuf,
    /// Private key in PEM, not encrypted
    key: PathBuf,
}

/// The certificate that a command is for.
#[derive(Args)]
pub struct CertificateOption {
    /// Name of the certificate [default: the app's only one]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    app: AppOption,
}

impl CertificateOption {
    /// Returns the app and its certificate.
    fn find(self, client: &ApiClient) -> anyhow::Result<(String, SniEndpointResource)> {
        let app = self.app.name()?;
        let mut certs: Vec<SniEndpointResource> = client.get(&app_path(&app, "/sni-endpoints"))?;
        if let Some(name) = &self.name {
            certs.retain(|cert| cert.name == *name);
        }
        match (certs.len(), self.name) {
            (1, _) => Ok((app, certs.remove(0))),
            (0, None) => bail!("{app} has no certificates. Add one with: corundum certs:add"),
            (_, Some(name)) => bail!("Couldn't find that certificate: {name}"),
            (_, None) => bail!("{app} has several certificates: name one with --name"),
        }
    }
}

/// Runs a command about certificates.
pub(super) fn run(command: CertsCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        CertsCommand::Certs { app, output } => list(client, &app.name()?, output)?,
        CertsCommand::Add { files, name, app } => {
            let app = app.name()?;
            let path = app_path(&app, "/sni-endpoints");
            let added: SniEndpointResource = client.post(&path, &files.request(name)?)?;
            say!("Adding certificate {} to {app}... done", added.name);
            describe(&added)?;
        }
        CertsCommand::Update { files, certificate } => {
            let (app, old) = certificate.find(client)?;
            let path = endpoint_path(&app, &old);
            let updated: SniEndpointResource = client.patch(&path, &files.request(None)?)?;
            say!("Updating certificate {} of {app}... done", updated.name);
            describe(&updated)?;
        }
        CertsCommand::Info {
            certificate,
            output,
        } => {
            let (_, cert) = certificate.find(client)?;
            if output.json {
                return print_json(&cert);
            }
            say!("=== {}", cert.name);
            describe(&cert)?;
        }
        CertsCommand::Remove { certificate } => {
            let (app, cert) = certificate.find(client)?;
            let removed: SniEndpointResource = client.delete(&endpoint_path(&app, &cert))?;
            say!("Removing certificate {} from {app}... done", removed.name);
        }
    }
    Ok(())
}

fn endpoint_path(app: &str, cert: &SniEndpointResource) -> String {
    app_path(app, &format!("/sni-endpoints/{}", segment(&cert.name)))
}

impl CertificateFiles {
    /// Reads the files into a request.
    fn request(&self, name: Option<String>) -> anyhow::Result<SniEndpointCreate> {
        Ok(SniEndpointCreate {
            name,
            certificate_chain: text(&self.certificate)?,
            private_key: text(&self.key)?,
        })
    }
}

/// Reads a file. Bytes that are not text cannot be PEM, which the node explains.
fn text(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn list(client: &ApiClient, app: &str, output: OutputOption) -> anyhow::Result<()> {
    let certs: Vec<SniEndpointResource> = client.get(&app_path(app, "/sni-endpoints"))?;
    if output.json {
        return print_json(&certs);
    }
    let rows = certs.into_iter().map(|cert| {
        let origin = cert.origin.as_str().to_owned();
        match cert.ssl_cert {
            Some(ssl) => [cert.name, ssl.cert_domains.join(", "), expiry(&ssl), origin],
            None => [cert.name, NONE.to_owned(), NONE.to_owned(), origin],
        }
    });
    let table = Table::new(["Name", "Common name(s)", "Expires", "Origin"]).with_rows(rows);
    if table.is_empty() {
        say!("{app} has no certificates. Add one with: corundum certs:add");
    } else {
        table.print()?;
    }
    Ok(())
}

fn expiry(ssl: &SslCert) -> String {
    if ssl.expired {
        format!("{}, expired", ssl.expires_at)
    } else {
        ssl.expires_at.to_string()
    }
}

fn describe(cert: &SniEndpointResource) -> anyhow::Result<()> {
    let Some(ssl) = &cert.ssl_cert else {
        say!("The node cannot read this certificate: replace it with corundum certs:update");
        return Ok(());
    };
    let issuer = if ssl.self_signed {
        "self-signed: browsers do not trust it".to_owned()
    } else {
        ssl.issuer.clone()
    };
    for (label, value) in [
        ("Common name(s)", ssl.cert_domains.join(", ")),
        ("Shown for", cert.hosts.join(", ")),
        ("Starts at", ssl.starts_at.to_string()),
        ("Expires at", ssl.expires_at.to_string()),
        ("Subject", ssl.subject.clone()),
        ("Issuer", issuer),
        ("Serial", ssl.serial.clone()),
        ("SHA-256", ssl.fingerprint.clone()),
    ] {
        say!("{:16} {value}", format!("{label}:"));
    }
    Ok(())
}
