//! Aggregates that were deleted: what is left of them, and how they are created anew.

use cim_domain::persistence::{DeleteOptions, Recreation, TOMBSTONE, Tags};
use cim_domain::store::{CommitId, EventLogExt as _, Metadata, StreamRange, Version};
use cim_domain::{Aggregate as _, Repository, RepositoryError, SaveOptions};
use uuid::Uuid;

use crate::account::{Account, AccountCommand, AccountEvent, ID, ctx};
use crate::stores::on_every_store;
use AccountCommand::{Deposit, Withdraw};
use AccountEvent::Deposited;

fn v(number: u64) -> Version {
    Version::new(number)
}

fn refused<T: std::fmt::Debug>(
    result: Result<T, RepositoryError<crate::account::AccountError>>,
) -> Version {
    match result {
        Err(RepositoryError::Deleted { version, .. }) => version,
        other => panic!("{other:?}"),
    }
}

on_every_store! {
    async fn a_deleted_aggregate_is_gone_for_whoever_loads_it(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
        let deleted = accounts.delete(&ctx(), &ID, DeleteOptions::default()).await.unwrap();
        assert_eq!(deleted.version, v(2));

        assert!(!accounts.exists(&ctx(), &ID).await.unwrap());
        let version = refused(accounts.load(&ctx(), &ID).await);
        assert_eq!(version, v(2));
        assert_eq!(
            accounts.load(&ctx(), &ID).await.unwrap_err().to_string(),
            format!("bank.account.{ID} was deleted at version 2")
        );
    }

    async fn what_it_was_before_can_still_be_loaded(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
        accounts.delete(&ctx(), &ID, DeleteOptions::default()).await.unwrap();

        let before = accounts.load_at_version(&ctx(), &ID, v(1)).await.unwrap();
        assert_eq!(before.state.balance, 5);
        refused(accounts.load_at_version(&ctx(), &ID, v(2)).await);
        let history = accounts.history(&ctx(), &ID, StreamRange::all()).await.unwrap();
        let events: Vec<_> = history.all().await.unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].event, Deposited { cents: 5 });
    }

    async fn neither_commands_nor_events_bring_it_back_by_accident(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
        accounts.delete(&ctx(), &ID, DeleteOptions::default()).await.unwrap();

        refused(accounts.execute(&ctx(), &ID, Deposit(1)).await);
        let events = vec![Deposited { cents: 1 }];
        refused(accounts.save(&ctx(), &ID, events.clone(), SaveOptions::default()).await);
        let new = SaveOptions { expected_version: Some(Version::NONE), ..Default::default() };
        assert!(accounts.save(&ctx(), &ID, events, new).await.unwrap_err().is_conflict());
        refused(accounts.delete(&ctx(), &ID, DeleteOptions::default()).await);
        let stream = Account::stream(&ID).unwrap();
        assert_eq!(store.log().version(&ctx(), &stream).await.unwrap(), v(2));
    }

    async fn whoever_wants_it_creates_it_anew_from_nothing(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
        accounts.delete(&ctx(), &ID, DeleteOptions::default()).await.unwrap();

        let lenient = accounts.clone().with_recreation(Recreation::Allow);
        assert!(lenient.execute(&ctx(), &ID, Withdraw(1)).await.unwrap_err().rejection().is_some());
        let done = lenient.execute(&ctx(), &ID, Deposit(7)).await.unwrap();
        assert_eq!((done.state.balance, done.version), (7, v(3)));
        assert_eq!(accounts.load(&ctx(), &ID).await.unwrap().state.balance, 7);
        assert!(accounts.exists(&ctx(), &ID).await.unwrap());
        assert_eq!(accounts.load_at_version(&ctx(), &ID, v(1)).await.unwrap().state.balance, 5);
    }

    async fn to_expect_the_tombstones_version_is_to_want_it_back(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
        let tombstone = accounts.delete(&ctx(), &ID, DeleteOptions::default()).await.unwrap();
        let options = SaveOptions {
            expected_version: Some(tombstone.version),
            ..Default::default()
        };
        let events = vec![Deposited { cents: 9 }];
        accounts.save(&ctx(), &ID, events, options).await.unwrap();
        assert_eq!(accounts.load(&ctx(), &ID).await.unwrap().state.balance, 9);
    }

    async fn what_never_was_can_not_be_deleted(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        let error = accounts.delete(&ctx(), &ID, DeleteOptions::default()).await.unwrap_err();
        assert!(error.is_not_found());
    }

    async fn a_deletion_that_expects_another_version_deletes_nothing(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
        accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
        let options = DeleteOptions { expected_version: Some(v(1)), ..Default::default() };
        assert!(accounts.delete(&ctx(), &ID, options).await.unwrap_err().is_conflict());
        assert!(accounts.exists(&ctx(), &ID).await.unwrap());
    }

    async fn a_deletion_says_why_and_is_stored_once_under_one_commit_id(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
        let options = DeleteOptions {
            metadata: Metadata::from_pairs([("reason", "closed by its owner")]).unwrap(),
            tags: Tags::new(["gdpr"]).unwrap(),
            commit_id: Some(CommitId::from_uuid(Uuid::from_u128(77))),
            ..Default::default()
        };
        let first = accounts.delete(&ctx(), &ID, options.clone()).await.unwrap();
        let again = accounts.delete(&ctx(), &ID, options).await.unwrap();
        assert_eq!(again.version, first.version);

        let stream = Account::stream(&ID).unwrap();
        let events = store.log().read_all(&ctx(), &stream).await.unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!(events[1].event_type.as_str(), TOMBSTONE);
        assert_eq!(events[1].metadata.get("reason"), Some("closed by its owner"));
        assert!(Tags::of(&events[1]).contains("gdpr"));
    }

    async fn events_of_any_version_and_deletions_never_pass_each_other(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        accounts.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        let saves = (0..8).map(|_| {
            let accounts = accounts.clone();
            tokio::spawn(async move {
                let events = vec![Deposited { cents: 1 }];
                accounts.save(&ctx(), &ID, events, SaveOptions::default()).await
            })
        });
        let saves: Vec<_> = saves.collect();
        let deleted = accounts.delete(&ctx(), &ID, DeleteOptions::default()).await.unwrap();
        let mut stored = 0;
        for save in saves {
            match save.await.unwrap() {
                Ok(saved) => {
                    assert!(saved.version < deleted.version);
                    stored += 1;
                }
                Err(error) => assert!(error.is_deleted(), "{error:?}"),
            }
        }
        assert_eq!(deleted.version, v(stored + 2), "the tombstone is the last event");
    }
}
