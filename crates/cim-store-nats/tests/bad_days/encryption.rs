//! Encrypted connections: with authorities and certificates of one's own.

use std::fs;
use std::path::{Path, PathBuf};

use cim_conformance::nats_server::{ServerSettings, TestServer, Tls};
use cim_store::Fault;
use cim_store_nats::{NatsSettings, NatsStore};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::place::{append, read, refused, start, told};

/// An authority, and what it signed, as PEM files.
struct Papers {
    directory: TempDir,
}

impl Papers {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let papers = Self { directory };
        fs::write(papers.path("ca.pem"), authority.pem()).unwrap();
        for name in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
            let params = CertificateParams::new(names).unwrap();
            let signed = params.signed_by(&key, &authority).unwrap();
            fs::write(papers.path(&format!("{name}.pem")), signed.pem()).unwrap();
            fs::write(papers.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        papers
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn server(&self, verify_clients: bool) -> TestServer {
        start(ServerSettings::new().tls(Tls {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            ca: Some(self.path("ca.pem")),
            verify_clients,
        }))
    }

    fn trusting(&self) -> NatsSettings {
        NatsSettings::default().with_authority(self.path("ca.pem"))
    }

    fn showing(&self) -> NatsSettings {
        let (certificate, key) = (self.path("client.pem"), self.path("client.key"));
        self.trusting().with_client_certificate(certificate, key)
    }
}

async fn works(url: &str, settings: NatsSettings) {
    let store = NatsStore::open(url, settings).await.unwrap();
    append(&store, "1", 1).await.unwrap();
    assert!(!read(&store, "1").await.unwrap().is_empty());
}

#[tokio::test]
async fn an_own_authority_and_a_client_certificate_open_an_encrypted_connection() {
    let papers = Papers::new();
    let server = papers.server(true);
    assert!(server.url().starts_with("tls://"));
    works(&server.url(), papers.showing()).await;
    // A server that asks for encryption gets it also where the URL does not.
    let plain = server.url().replace("tls://", "nats://");
    works(&plain, papers.showing()).await;
}

#[tokio::test]
async fn a_server_that_another_authority_signed_is_not_trusted() {
    let (papers, others) = (Papers::new(), Papers::new());
    let server = papers.server(false);
    for settings in [others.trusting(), NatsSettings::default()] {
        let error = refused(&server.url(), settings).await;
        assert_eq!(error.fault(), Some(Fault::Unavailable), "{}", told(&error));
        assert!(
            error.hint().unwrap().contains("certificates"),
            "{}",
            told(&error)
        );
    }
    works(&server.url(), papers.trusting()).await;
}

#[tokio::test]
async fn a_client_without_its_certificate_is_refused_where_one_is_asked_for() {
    let papers = Papers::new();
    let server = papers.server(true);
    let error = refused(&server.url(), papers.trusting()).await;
    assert!(
        matches!(error.fault(), Some(Fault::Unavailable | Fault::Denied)),
        "{}",
        told(&error)
    );
    assert!(error.hint().is_some(), "{}", told(&error));
}

#[tokio::test]
async fn encryption_that_the_server_does_not_have_is_refused() {
    let url = crate::place::fresh();
    let error = refused(&url, NatsSettings::default().require_tls()).await;
    assert_eq!(error.fault(), Some(Fault::Unavailable), "{}", told(&error));
    let tls = url.replace("nats://", "tls://");
    let error = refused(&tls, NatsSettings::default()).await;
    assert_eq!(error.fault(), Some(Fault::Unavailable), "{}", told(&error));
}

#[tokio::test]
async fn files_of_certificates_that_are_not_there_are_named() {
    let url = crate::place::fresh();
    let missing = Path::new("/no/such/file.pem");
    let papers = Papers::new();
    for settings in [
        NatsSettings::default().with_authority(missing),
        papers
            .trusting()
            .with_client_certificate(missing, papers.path("client.key")),
        papers
            .trusting()
            .with_client_certificate(papers.path("client.pem"), missing),
    ] {
        let error = refused(&url, settings).await;
        assert_eq!(error.fault(), Some(Fault::Invalid), "{}", told(&error));
        assert!(
            told(&error).contains("/no/such/file.pem"),
            "{}",
            told(&error)
        );
    }
}
