//! Loads as the options say: at a version, at a time, with events, within a bound.

use std::time::Duration;

use cim_domain::persistence::Tags;
use cim_domain::store::{EventLogExt as _, Metadata, Version};
use cim_domain::{Aggregate as _, LoadOptions, Repository, RepositoryError, SaveOptions};

use crate::account::{Account, AccountCommand, AccountEvent, ID, ctx};
use crate::stores::{NOON, on_every_store, on_every_store_with_our_clock};
use AccountCommand::Deposit;
use AccountEvent::Deposited;

fn v(number: u64) -> Version {
    Version::new(number)
}

async fn three_deposits(accounts: &Repository<Account>) {
    for cents in [1, 10, 100] {
        accounts.execute(&ctx(), &ID, Deposit(cents)).await.unwrap();
    }
}

on_every_store_with_our_clock! {
    async fn an_aggregate_is_loaded_as_it_was_at_a_time(store, clock) {
        let accounts = Repository::<Account>::new(store.log());
        for cents in [1, 10, 100] {
            clock.advance(Duration::from_secs(60));
            accounts.execute(&ctx(), &ID, Deposit(cents)).await.unwrap();
        }
        let minutes = |count: u64| NOON.saturating_add(Duration::from_secs(60 * count));
        for (moment, balance) in [(minutes(1), 1), (minutes(2), 11), (minutes(3), 111)] {
            let then = accounts.load_as_of(&ctx(), &ID, moment).await.unwrap();
            assert_eq!(then.state.balance, balance, "this moment included");
            let after = moment.saturating_add(Duration::from_secs(59));
            let then = accounts.load_as_of(&ctx(), &ID, after).await.unwrap();
            assert_eq!(then.state.balance, balance);
        }
        let before = accounts.load_as_of(&ctx(), &ID, NOON).await.unwrap_err();
        assert!(before.is_not_found());
    }

    async fn of_a_version_and_a_time_the_earlier_one_counts(store, clock) {
        let accounts = Repository::<Account>::new(store.log());
        for cents in [1, 10, 100] {
            clock.advance(Duration::from_secs(60));
            accounts.execute(&ctx(), &ID, Deposit(cents)).await.unwrap();
        }
        let second = NOON.saturating_add(Duration::from_secs(120));
        for (version, balance) in [(1, 1), (2, 11), (3, 11)] {
            let options = LoadOptions {
                version: Some(v(version)),
                as_of: Some(second),
                ..Default::default()
            };
            let loaded = accounts.load_with(&ctx(), &ID, options).await.unwrap();
            assert_eq!(loaded.state.balance, balance, "version {version}");
        }
    }
}

on_every_store! {
    async fn a_load_hands_out_its_events_where_they_are_asked_for(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        three_deposits(&accounts).await;
        let options = LoadOptions {
            version: Some(v(2)),
            include_events: true,
            ..Default::default()
        };
        let loaded = accounts.load_with(&ctx(), &ID, options).await.unwrap();
        let stored = store.log().read_all(&ctx(), &Account::stream(&ID).unwrap()).await.unwrap();
        assert_eq!(loaded.events, stored[..2]);
        assert!(accounts.load(&ctx(), &ID).await.unwrap().events.is_empty());
    }

    async fn a_load_that_takes_more_events_than_allowed_is_refused_whole(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        three_deposits(&accounts).await;
        let within = |max| LoadOptions { max_events: Some(max), ..Default::default() };
        let loaded = accounts.load_with(&ctx(), &ID, within(3)).await.unwrap();
        assert_eq!(loaded.state.balance, 111);
        let error = accounts.load_with(&ctx(), &ID, within(2)).await.unwrap_err();
        assert!(matches!(error, RepositoryError::TooManyEvents { max: 2, .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("bank.account.{ID} has more than 2 events to load"));
    }

    async fn tags_stand_in_the_metadata_of_each_saved_event(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        let options = SaveOptions {
            metadata: Metadata::from_pairs([("branch", "main")]).unwrap(),
            tags: Tags::new(["vip", "region:eu"]).unwrap(),
            ..Default::default()
        };
        let events = vec![Deposited { cents: 1 }, Deposited { cents: 2 }];
        accounts.save(&ctx(), &ID, events, options).await.unwrap();
        let stored = store.log().read_all(&ctx(), &Account::stream(&ID).unwrap()).await.unwrap();
        for event in &stored {
            assert_eq!(Tags::of(event).iter().collect::<Vec<_>>(), ["region:eu", "vip"]);
            assert_eq!(event.metadata.get("branch"), Some("main"));
        }
    }

    async fn metadata_that_stands_in_the_way_of_tags_is_refused(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        let options = SaveOptions {
            metadata: Metadata::from_pairs([("tags", "mine")]).unwrap(),
            tags: Tags::new(["vip"]).unwrap(),
            ..Default::default()
        };
        let error = accounts
            .save(&ctx(), &ID, vec![Deposited { cents: 1 }], options)
            .await
            .unwrap_err();
        assert!(matches!(error, RepositoryError::InvalidTags(_)), "{error:?}");
        assert!(!accounts.exists(&ctx(), &ID).await.unwrap());
    }
}
