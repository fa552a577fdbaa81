//! Finding aggregates by their events.

use std::collections::{BTreeMap, BTreeSet};

use cim_domain::persistence::event_index::{EventIndex, IndexSettings};
use cim_domain::persistence::{AggregateQuery, DeleteOptions, ExecuteOptions, Tags};
use cim_domain::store::{EventLogExt as _, ExpectedVersion, StreamId};
use cim_domain::store::{Metadata, NewEvent, Store, StreamRange};
use cim_domain::{Repository, SaveOptions};
use proptest::prelude::*;
use uuid::Uuid;

use crate::account::{Account, AccountCommand, AccountEvent, ctx, empty_log};
use crate::stores::on_every_store;
use AccountCommand::{Close, Deposit};
use AccountEvent::{Closed, Deposited, Withdrawn};

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn types(names: &[&str]) -> AggregateQuery {
    AggregateQuery {
        types: names.iter().map(|name| name.parse().unwrap()).collect(),
        ..Default::default()
    }
}

fn tagged(tags: &[&str]) -> AggregateQuery {
    AggregateQuery {
        tags: Tags::new(tags.iter().copied()).unwrap(),
        ..Default::default()
    }
}

/// The numbers of all accounts on all pages, in their order.
async fn all_of(accounts: &Repository<Account>, mut query: AggregateQuery) -> Vec<u128> {
    let mut found = Vec::new();
    loop {
        let page = accounts.query(&ctx(), &query).await.unwrap();
        assert!(page.items.len() <= query.page_size);
        found.extend(
            page.items
                .iter()
                .map(|account| number(&account.head.stream)),
        );
        query.after = page.next;
        if query.after.is_none() {
            return found;
        }
    }
}

fn number(stream: &StreamId) -> u128 {
    Uuid::parse_str(stream.id()).unwrap().as_u128()
}

async fn save(accounts: &Repository<Account>, number: u128, event: AccountEvent, tags: &[&str]) {
    let options = SaveOptions {
        tags: Tags::new(tags.iter().copied()).unwrap(),
        ..Default::default()
    };
    accounts
        .save(&ctx(), &id(number), vec![event], options)
        .await
        .unwrap();
}

async fn indexed(store: &dyn Store) -> Repository<Account> {
    let index = EventIndex::open(store, IndexSettings::default())
        .await
        .unwrap();
    Repository::new(store.log()).with_index(index)
}

on_every_store! {
    async fn every_aggregate_of_the_type_is_on_one_page(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        for round in 0..2 {
            for number in 1..=7 {
                accounts.execute(&ctx(), &id(number), Deposit(round + 1)).await.unwrap();
            }
        }
        let other = StreamId::new("bank", "branch", "main").unwrap();
        let event = NewEvent::json("opened", &()).unwrap();
        store.log().append_to(&ctx(), &other, ExpectedVersion::NEW, vec![event]).await.unwrap();
        for page_size in [1, 2, 3, 7, 100] {
            let query = AggregateQuery { page_size, ..Default::default() };
            assert_eq!(all_of(&accounts, query).await, (1..=7).collect::<Vec<_>>());
        }
    }

    async fn what_is_found_is_loaded_as_it_is_now(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        accounts.execute(&ctx(), &id(1), Deposit(5)).await.unwrap();
        accounts.execute(&ctx(), &id(1), Close).await.unwrap();
        let page = accounts.query(&ctx(), &types(&["closed"])).await.unwrap();
        assert_eq!(page.next, None);
        assert_eq!(page.items, [accounts.load(&ctx(), &id(1)).await.unwrap()]);
        assert!(page.items[0].state.closed);
    }

    async fn of_several_event_types_one_is_enough(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        save(&accounts, 1, Deposited { cents: 1 }, &[]).await;
        save(&accounts, 2, Closed, &[]).await;
        save(&accounts, 3, Withdrawn { cents: 0 }, &[]).await;
        assert_eq!(all_of(&accounts, types(&["closed", "withdrawn"])).await, [2, 3]);
        assert_eq!(all_of(&accounts, types(&["never"])).await, [] as [u128; 0]);
    }

    async fn a_pattern_of_subjects_narrows_what_is_found(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        save(&accounts, 1, Deposited { cents: 1 }, &[]).await;
        save(&accounts, 2, Deposited { cents: 1 }, &[]).await;
        save(&accounts, 2, Closed, &[]).await;
        let matching = |pattern: &str| AggregateQuery {
            pattern: Some(pattern.parse().unwrap()),
            ..Default::default()
        };
        assert_eq!(all_of(&accounts, matching("cim.events.bank.*.*.closed.*")).await, [2]);
        assert_eq!(all_of(&accounts, matching(&format!("cim.events.*.*.{}.>", id(1)))).await, [1]);
        assert_eq!(all_of(&accounts, matching("cim.events.sales.>")).await, [] as [u128; 0]);
    }

    async fn all_tags_have_to_stand_on_one_event(store, _clock) {
        for accounts in [Repository::new(store.log()), indexed(&*store).await] {
            if !accounts.exists(&ctx(), &id(1)).await.unwrap() {
                save(&accounts, 1, Deposited { cents: 1 }, &["eu", "vip"]).await;
                save(&accounts, 2, Deposited { cents: 1 }, &["eu"]).await;
                save(&accounts, 2, Deposited { cents: 1 }, &["vip"]).await;
                save(&accounts, 3, Deposited { cents: 1 }, &[]).await;
            }
            assert_eq!(all_of(&accounts, tagged(&["eu"])).await, [1, 2]);
            assert_eq!(all_of(&accounts, tagged(&["eu", "vip"])).await, [1]);
            assert_eq!(all_of(&accounts, tagged(&["us"])).await, [] as [u128; 0]);
        }
    }

    async fn events_of_commands_and_decisions_are_found_by_the_tags_they_were_given(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        let options = |tag| ExecuteOptions {
            tags: Tags::new([tag]).unwrap(),
            metadata: Metadata::from_pairs([("clerk", "anna")]).unwrap(),
        };
        accounts.execute_with(&ctx(), &id(1), Deposit(5), options("one")).await.unwrap();
        let all = (accounts.participant(&id(2)), accounts.participant(&id(3)));
        accounts
            .execute_many_with(&ctx(), all, options("many"), |(one, other)| {
                one.handle(Deposit(1))?;
                other.handle(Deposit(1))
            })
            .await
            .unwrap();
        assert_eq!(all_of(&accounts, tagged(&["one"])).await, [1]);
        assert_eq!(all_of(&accounts, tagged(&["many"])).await, [2, 3]);
        let history = accounts.history(&ctx(), &id(3), StreamRange::all()).await.unwrap();
        let event = history.all().await.unwrap().remove(0).recorded;
        assert_eq!(event.metadata.get("clerk"), Some("anna"));
    }

    async fn deleted_aggregates_are_not_found(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        for number in 1..=3 {
            save(&accounts, number, Deposited { cents: 1 }, &[]).await;
        }
        accounts.delete(&ctx(), &id(2), DeleteOptions::default()).await.unwrap();
        let query = AggregateQuery { page_size: 1, ..Default::default() };
        assert_eq!(all_of(&accounts, query).await, [1, 3]);
    }

    async fn what_begins_to_match_while_pages_are_turned_comes_last(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        for number in 1..=4 {
            save(&accounts, number, Deposited { cents: 1 }, &["seen"]).await;
        }
        save(&accounts, 9, Deposited { cents: 1 }, &[]).await;
        let mut query = AggregateQuery { page_size: 2, ..tagged(&["seen"]) };
        query.after = accounts.query(&ctx(), &query).await.unwrap().next;
        // Both were seen or are nothing new, and one is.
        save(&accounts, 1, Deposited { cents: 1 }, &["seen"]).await;
        save(&accounts, 9, Deposited { cents: 1 }, &["seen"]).await;
        save(&accounts, 4, Deposited { cents: 1 }, &["seen"]).await;
        assert_eq!(all_of(&accounts, query).await, [3, 4, 9]);
    }
}

#[tokio::test]
async fn a_page_size_out_of_range_counts_as_its_nearest_end() {
    let accounts = Repository::<Account>::new(empty_log().await);
    for number in 1..=2 {
        save(&accounts, number, Closed, &[]).await;
    }
    for (page_size, found) in [(0, 1), (usize::MAX, 2)] {
        let query = AggregateQuery {
            page_size,
            ..Default::default()
        };
        let page = accounts.query(&ctx(), &query).await.unwrap();
        assert_eq!(page.items.len(), found);
    }
}

/// Which account, with which of two tags, is it deleted instead.
fn steps() -> impl Strategy<Value = Vec<(u128, [bool; 2], bool)>> {
    prop::collection::vec(
        (1..=6_u128, any::<[bool; 2]>(), prop::bool::weighted(0.1)),
        0..40,
    )
}

async fn compare_with_a_filter(steps: Vec<(u128, [bool; 2], bool)>, page_size: usize) {
    let store = cim_domain::open("memory:").await.unwrap();
    let plain = Repository::<Account>::new(store.log());
    let mut first = BTreeMap::new();
    let mut deleted = BTreeSet::new();
    for (at, (number, has, delete)) in steps.into_iter().enumerate() {
        if deleted.contains(&number) {
            continue;
        }
        if delete {
            if plain
                .delete(&ctx(), &id(number), DeleteOptions::default())
                .await
                .is_ok()
            {
                deleted.insert(number);
            }
            continue;
        }
        let tags: Vec<&str> = ["a", "b"]
            .into_iter()
            .zip(has)
            .filter_map(|(tag, has)| has.then_some(tag))
            .collect();
        save(&plain, number, Deposited { cents: 1 }, &tags).await;
        if has[0] {
            first.entry(number).or_insert(at);
        }
    }
    let mut expected: Vec<(usize, u128)> = first
        .into_iter()
        .filter(|(number, _)| !deleted.contains(number))
        .map(|(number, at)| (at, number))
        .collect();
    expected.sort_unstable();
    let expected: Vec<u128> = expected.into_iter().map(|(_, number)| number).collect();
    for accounts in [plain, indexed(&*store).await] {
        let query = AggregateQuery {
            page_size,
            ..tagged(&["a"])
        };
        assert_eq!(all_of(&accounts, query).await, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_have_what_a_filter_over_all_events_finds(steps in steps(), page_size in 1..5_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare_with_a_filter(steps, page_size));
    }
}
