//! Opening a store by its URL.

use std::sync::Arc;

#[cfg(feature = "nats")]
use cim_domain::store::{
    Append, CommitId, EventLogExt as _, IdGenerator as _, NewEvent, StreamId, Version,
};
use cim_domain::store::{Context, Fault, ManualClock, SequentialIds, Timestamp};
use cim_domain::{NatsOptions, OpenError, OpenOptions, Repository, inspect, open, open_with};

use crate::account::{Account, AccountCommand, ID, ctx};

async fn refusal(url: &str) -> OpenError {
    open(url).await.expect_err(url)
}

#[tokio::test]
async fn memory_opens_a_new_store_each_time() {
    let one = open("memory:").await.unwrap();
    let accounts = Repository::<Account>::new(one.log());
    accounts
        .execute(&ctx(), &ID, AccountCommand::Deposit(1))
        .await
        .unwrap();
    let other = open("MEMORY://").await.unwrap();
    let stats = other.log().stats(&Context::new()).await.unwrap();
    assert_eq!(stats.events, 0);
}

#[tokio::test]
async fn memory_takes_no_path_and_never_exists_before() {
    assert!(matches!(
        refusal("memory:data").await,
        OpenError::Malformed { .. }
    ));
    let options = OpenOptions {
        must_exist: true,
        ..OpenOptions::default()
    };
    assert!(matches!(
        open_with("memory:", options).await.unwrap_err(),
        OpenError::NotFound { .. }
    ));
}

#[tokio::test]
async fn what_only_stores_on_nats_take_is_refused_by_others() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = format!("embedded:{}", directory.path().join("data").display());
    for url in ["memory:", &embedded] {
        let options = OpenOptions {
            nats: NatsOptions {
                replicas: Some(3),
                ..NatsOptions::default()
            },
            ..OpenOptions::default()
        };
        let error = open_with(url, options).await.unwrap_err();
        assert!(
            matches!(
                error,
                OpenError::NotAnOption {
                    option: "replicas",
                    ..
                }
            ),
            "{error}"
        );
    }
    assert!(!directory.path().join("data").exists());
}

#[tokio::test]
async fn a_store_in_a_directory_is_inspected_without_being_opened() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("embedded:{}", directory.path().join("data").display());
    assert!(matches!(
        inspect(&url).await.unwrap_err(),
        OpenError::NotFound { .. }
    ));
    assert!(!directory.path().join("data").exists());
    let store = open(&url).await.unwrap();
    let accounts = Repository::<Account>::new(store.log());
    accounts
        .execute(&ctx(), &ID, AccountCommand::Deposit(1))
        .await
        .unwrap();
    assert!(matches!(
        inspect(&url).await.unwrap_err(),
        OpenError::Store { .. }
    ));
    store.close().await.unwrap();
    let store = inspect(&url).await.unwrap();
    let stats = store.log().stats(&Context::new()).await.unwrap();
    assert!(stats.events > 0);
    let error = store.buckets(&Context::new()).await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Unsupported));
}

#[tokio::test]
async fn stores_in_memory_are_not_inspected() {
    assert!(matches!(
        inspect("memory:").await.unwrap_err(),
        OpenError::NotInspectable { .. }
    ));
    assert!(matches!(
        inspect("./data").await.unwrap_err(),
        OpenError::NoScheme { .. }
    ));
    assert!(matches!(
        inspect("sqlite:data").await.unwrap_err(),
        OpenError::UnknownScheme { .. }
    ));
}

#[tokio::test]
async fn a_store_takes_its_time_from_the_clock_it_was_given() {
    let noon = Timestamp::from_seconds(12 * 3600);
    let options = OpenOptions {
        clock: Arc::new(ManualClock::at(noon)),
        ids: Arc::new(SequentialIds::new(1)),
        ..OpenOptions::default()
    };
    let store = open_with("memory:", options).await.unwrap();
    let done = Repository::<Account>::new(store.log())
        .execute(&ctx(), &ID, AccountCommand::Deposit(1))
        .await
        .unwrap();
    assert_eq!(done.appended.unwrap().stored_at, Some(noon));
}

#[tokio::test]
async fn a_path_without_a_scheme_is_refused_with_the_way_out() {
    for path in ["./data", "data", "/var/lib/cim", "C:\\data", "../a:b"] {
        let error = refusal(path).await;
        assert!(matches!(error, OpenError::NoScheme { .. }), "{path}");
        assert!(
            error
                .to_string()
                .contains(&format!("did you mean `embedded:{path}`?")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_empty_url_is_refused_without_a_guess() {
    let error = refusal("").await;
    assert_eq!(
        error.to_string(),
        "`` can't be opened: it is empty; a store is named such as `embedded:./data`"
    );
}

#[tokio::test]
async fn an_unknown_scheme_is_refused_and_the_known_ones_are_named() {
    let error = refusal("postgres://user:secret@host/db").await;
    assert!(matches!(&error, OpenError::UnknownScheme { scheme } if scheme == "postgres"));
    let text = error.to_string();
    assert!(text.contains("memory:") && text.contains("embedded:PATH"));
    assert!(!format!("{error:?}{text}").contains("secret"));
}

#[cfg(not(feature = "nats"))]
#[tokio::test]
async fn nats_is_refused_in_a_build_without_it_and_its_password_is_not_repeated() {
    for url in ["nats://user:secret@host:4222", "tls://user:secret@host"] {
        let error = refusal(url).await;
        assert!(matches!(error, OpenError::NotBuilt { .. }));
        let text = error.to_string();
        assert!(
            text.contains("built without the feature `nats` of cim-domain"),
            "{text}"
        );
        assert!(!format!("{error:?}{text}").contains("secret"));
    }
}

#[cfg(feature = "nats")]
mod nats {
    use super::*;
    use std::error::Error;

    use cim_conformance::nats_server::{ServerSettings, TestServer};

    #[tokio::test]
    async fn what_was_stored_on_a_server_is_there_when_it_is_opened_again() {
        let server = TestServer::start(ServerSettings::new()).unwrap();
        let existing = || OpenOptions {
            must_exist: true,
            ..OpenOptions::default()
        };
        let error = open_with(&server.url(), existing()).await.unwrap_err();
        assert!(matches!(error, OpenError::NotFound { .. }), "{error:?}");

        for balance in 1..=2 {
            let store = open(&server.url()).await.unwrap();
            let accounts = Repository::<Account>::new(store.log());
            let deposit = AccountCommand::Deposit(1);
            let done = accounts.execute(&ctx(), &ID, deposit).await.unwrap();
            assert_eq!(done.state.balance, balance);
            store.close().await.unwrap();
        }
        let store = open_with(&server.url(), existing()).await.unwrap();
        assert_eq!(store.log().stats(&ctx()).await.unwrap().events, 2);
    }

    #[tokio::test]
    async fn events_have_the_time_and_the_ids_they_were_given() {
        let server = TestServer::start(ServerSettings::new()).unwrap();
        let (noon, ids) = (Timestamp::from_seconds(12 * 3600), SequentialIds::new(1));
        let expected = CommitId::from_uuid(SequentialIds::new(1).next_uuid());
        let options = OpenOptions {
            clock: Arc::new(ManualClock::at(noon)),
            ids: Arc::new(ids),
            ..OpenOptions::default()
        };
        let log = open_with(&server.url(), options).await.unwrap().log();
        let stream = StreamId::new("bank", "account", "7").unwrap();
        let event = NewEvent::json("opened", &()).unwrap();
        let append = Append::new().write(stream.clone(), Version::NONE, vec![event]);
        log.append(&ctx(), append).await.unwrap();
        let stored = log.read_all(&ctx(), &stream).await.unwrap().remove(0);
        assert_eq!((stored.time, stored.commit_id), (noon, expected));
    }

    #[tokio::test]
    async fn a_url_without_a_server_is_refused_with_an_example() {
        for url in ["nats:", "nats://", "tls://"] {
            let error = refusal(url).await;
            assert!(matches!(error, OpenError::Malformed { .. }), "{error:?}");
            assert!(error.to_string().contains("nats://localhost:4222"));
        }
    }

    /// Nothing listens at port 9, which is for discarding.
    #[tokio::test]
    async fn no_error_repeats_what_the_url_says_about_the_user() {
        for url in [
            "nats://anna:secret@127.0.0.1:9",
            "nats://secret@127.0.0.1:9",
            "nats://anna:secret,/@x@127.0.0.1:9",
            "nats://anna:secret@127.0.0.1:9,anna:secret@localhost:9",
        ] {
            let error = refusal(url).await;
            let mut told = format!("{error:?} {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                told += &format!(" {cause:?} {cause} {cause:#}");
                source = cause.source();
            }
            assert!(!told.contains("secret"), "{told}");
            assert!(!told.contains("anna"), "{told}");
        }
    }
}

#[cfg(not(feature = "embedded"))]
#[tokio::test]
async fn embedded_is_refused_in_a_build_without_it() {
    let error = refusal("embedded:./data").await;
    assert_eq!(
        error.to_string(),
        "this build can't open `embedded:`: it was built without the feature `embedded` of cim-domain"
    );
}

#[cfg(feature = "embedded")]
mod embedded {
    use super::*;

    #[tokio::test]
    async fn what_was_stored_in_a_directory_is_there_when_it_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("embedded:{}", directory.path().join("store").display());
        for balance in 1..=3 {
            let store = open(&url).await.unwrap();
            let accounts = Repository::<Account>::new(store.log());
            let deposit = AccountCommand::Deposit(1);
            let done = accounts.execute(&ctx(), &ID, deposit).await.unwrap();
            assert_eq!(done.state.balance, balance);
            store.close().await.unwrap();
        }
        let with_slashes = url.replacen("embedded:", "embedded://", 1);
        let store = open(&with_slashes).await.unwrap();
        assert_eq!(store.log().stats(&ctx()).await.unwrap().events, 3);
    }

    /// Somebody cuts the file of a store that was closed: it does not open any more, but its
    /// inspection tells which streams were cut, what is left of them, and how far they went.
    #[tokio::test]
    async fn a_store_whose_file_was_cut_is_verified_by_its_inspection() {
        use cim_domain::persistence::verification::{VerificationFaultKind, Verifier};
        use cim_domain::store::{EventLogExt as _, ExpectedVersion, NewEvent, StreamId};

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let url = format!("embedded:{}", path.display());
        let store = open(&url).await.unwrap();
        for number in 0..12 {
            let id = ["a", "b", "c"][number % 3];
            let stream = StreamId::new("sales", "order", id).unwrap();
            let event = NewEvent::json("noted", &number).unwrap();
            let any = ExpectedVersion::Any;
            let log = store.log();
            log.append_to(&ctx(), &stream, any, vec![event])
                .await
                .unwrap();
        }
        store.close().await.unwrap();
        let segment = path.join("events/0000000001.seg");
        let len = std::fs::metadata(&segment).unwrap().len();
        // A little less than half of the records.
        let file = std::fs::OpenOptions::new().write(true).open(&segment);
        file.unwrap().set_len(len * 6 / 10).unwrap();
        assert!(open(&url).await.is_err());

        let store = inspect(&url).await.unwrap();
        let verifier = Verifier::new(store.log()).with_workers(1);
        let found = verifier.verify(&Context::new(), |_| ()).await.unwrap();
        let cut: Vec<_> = found
            .faults
            .iter()
            .filter(|fault| fault.kind == VerificationFaultKind::Cut)
            .map(|fault| fault.stream.as_ref().unwrap().id().to_owned())
            .collect();
        assert_eq!(cut, ["a", "b", "c"], "{:?}", found.faults);
        for fault in &found.faults {
            if fault.kind == VerificationFaultKind::Cut {
                assert!(fault.version.is_some_and(|version| version.get() >= 3));
                assert!(fault.message.contains("version 4"), "{}", fault.message);
            }
        }
    }

    #[tokio::test]
    async fn a_store_that_must_exist_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let options = OpenOptions {
            must_exist: true,
            ..OpenOptions::default()
        };
        let error = open_with(&format!("embedded:{}", path.display()), options)
            .await
            .unwrap_err();
        assert!(matches!(error, OpenError::NotFound { .. }), "{error:?}");
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_directory_that_can_not_be_one_is_an_error_of_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "not a directory").unwrap();
        let error = refusal(&format!("embedded:{}", file.display())).await;
        assert!(matches!(error, OpenError::Store { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn embedded_without_a_path_is_refused() {
        for url in ["embedded:", "embedded://"] {
            assert!(matches!(refusal(url).await, OpenError::Malformed { .. }));
        }
    }
    #[tokio::test]
    async fn a_home_directory_that_no_shell_has_written_out_is_refused() {
        for url in ["embedded:~", "embedded:~/data", "embedded://~/data"] {
            let error = refusal(url).await;
            assert!(matches!(error, OpenError::Malformed { .. }), "{error:?}");
            assert!(
                error.to_string().contains("write the directory out"),
                "{error}"
            );
        }
    }
}
