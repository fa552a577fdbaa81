//! Who may connect, and who may not.

use std::fs;

use cim_conformance::nats_server::{ServerSettings, TestServer};
use cim_store::Fault;
use cim_store_nats::{Credentials, NatsSettings, NatsStore};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::place::{append, read, refused, start, told};

fn with(credentials: Credentials) -> NatsSettings {
    NatsSettings::default().with_credentials(credentials)
}

fn password(user: &str, password: &str) -> Credentials {
    Credentials::UserPassword {
        user: user.to_owned(),
        password: password.to_owned(),
    }
}

/// Stores something, and reads it.
async fn works(server: &TestServer, settings: NatsSettings) {
    let store = NatsStore::open(&server.url(), settings).await.unwrap();
    append(&store, "1", 2).await.unwrap();
    assert_eq!(read(&store, "1").await.unwrap().len(), 2);
}

async fn is_denied(server: &TestServer, settings: NatsSettings) {
    let error = refused(&server.url(), settings).await;
    assert_eq!(error.fault(), Some(Fault::Denied), "{}", told(&error));
    assert!(error.hint().is_some());
    assert!(!told(&error).contains("secret"), "{}", told(&error));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_denied_and_the_right_one_works() {
    let server = start(ServerSettings::new().password("orders", "correct"));
    is_denied(&server, with(password("orders", "secret"))).await;
    is_denied(&server, with(password("nobody", "secret"))).await;
    is_denied(&server, NatsSettings::default()).await;
    works(&server, with(password("orders", "correct"))).await;
    let url = server.url().replace("nats://", "nats://orders:correct@");
    NatsStore::open(&url, NatsSettings::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_token_that_is_wrong_is_denied_and_the_right_one_works() {
    let server = start(ServerSettings::new().token("correct"));
    is_denied(&server, with(Credentials::Token("secret".to_owned()))).await;
    works(&server, with(Credentials::Token("correct".to_owned()))).await;
}

#[tokio::test]
async fn an_nkey_opens_what_another_one_does_not() {
    let (owner, stranger) = (KeyPair::new_user(), KeyPair::new_user());
    let server = start(ServerSettings::new().nkey(owner.public_key()));
    is_denied(&server, with(Credentials::NKey(stranger.seed().unwrap()))).await;
    works(&server, with(Credentials::NKey(owner.seed().unwrap()))).await;
}

#[tokio::test]
async fn a_file_of_credentials_opens_its_account() {
    let (operator, account, user) = (
        KeyPair::new_operator(),
        KeyPair::new_account(),
        KeyPair::new_user(),
    );
    let system = KeyPair::new_account();
    let of_operator = json!({ "system_account": system.public_key() });
    let operator_jwt = jwt(&operator, &operator, "operator", "operator", of_operator);
    let mut limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1,
    });
    let of_system = json!({ "limits": &limits });
    let system_jwt = jwt(&operator, &system, "system", "account", of_system);
    for room in ["mem_storage", "disk_storage", "streams", "consumer"] {
        limits[room] = json!(-1);
    }
    let of_account = json!({ "limits": limits });
    let account_jwt = jwt(&operator, &account, "orders", "account", of_account);
    let limits = json!({ "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {} });
    let user_jwt = jwt(&account, &user, "anna", "user", limits);
    let server = start(ServerSettings::new().server_config(&format!(
        "operator: {operator_jwt}\nresolver: MEMORY\n\
         resolver_preload {{ {}: {account_jwt}, {}: {system_jwt} }}",
        account.public_key(),
        system.public_key()
    )));

    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, seed: String| {
        let path = directory.path().join(name);
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        fs::write(&path, text).unwrap();
        path
    };
    let right = write("anna.creds", user.seed().unwrap());
    let wrong = write("mallory.creds", KeyPair::new_user().seed().unwrap());
    works(&server, with(Credentials::File(right))).await;
    is_denied(&server, with(Credentials::File(wrong))).await;

    let missing = directory.path().join("nobody.creds");
    let error = refused(&server.url(), with(Credentials::File(missing))).await;
    assert_eq!(error.fault(), Some(Fault::Invalid), "{}", told(&error));
    assert!(told(&error).contains("nobody.creds"), "{}", told(&error));
}

/// A claim about `subject`, signed by `issuer`: NATS's JWT, whose algorithm is Ed25519 over nkeys
/// (ADR-14).
fn jwt(issuer: &KeyPair, subject: &KeyPair, name: &str, kind: &str, of_kind: Value) -> String {
    let mut nats = of_kind;
    nats["type"] = json!(kind);
    nats["version"] = json!(2);
    let claims = json!({
        "iat": 1_750_000_000,
        "iss": issuer.public_key(),
        "jti": BASE32_NOPAD.encode(name.as_bytes()),
        "name": name,
        "sub": subject.public_key(),
        "nats": nats,
    });
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}
