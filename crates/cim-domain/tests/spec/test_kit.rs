//! `given`, `when`, `then`: what passes, and what a failure shows.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cim_domain::Repository;
use cim_domain::store::Version;
use cim_domain::testing::{given, given_events, given_events_no_runtime, given_no_events};
use expect_test::expect;

use crate::account::{Account, AccountCommand, AccountError, AccountEvent, ID, accounts, ctx};
use crate::stores::on_every_store;
use AccountCommand::{Close, Deposit, Withdraw};
use AccountEvent::{Closed, Deposited, Withdrawn};

fn failure(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("the expectation was met");
    *panic.downcast::<String>().expect("the panic has a text")
}

#[test]
fn expectations_that_are_met_pass() {
    given_no_events::<Account>()
        .when(Deposit(5))
        .then([Deposited { cents: 5 }]);
    given::<Account>([Deposited { cents: 5 }])
        .when(Close)
        .then([Withdrawn { cents: 5 }, Closed]);
    given::<Account>([Closed]).when(Close).then_nothing();
    given::<Account>([Closed])
        .when(Deposit(1))
        .then_error(|error| *error == AccountError::Closed);
    given::<Account>([Deposited { cents: 5 }])
        .when(Withdraw(2))
        .then_state(|account| account.balance == 3);
    given_events_no_runtime::<Account>([Deposited { cents: 5 }])
        .when(Withdraw(6))
        .then_error_is(AccountError::NotEnough { balance: 5 });
    given_events_no_runtime::<Account>([Deposited { cents: 5 }])
        .when(Withdraw(2))
        .then_state_is(Account {
            balance: 3,
            closed: false,
        });
}

#[test]
fn other_events_are_shown_line_by_line() {
    let shown = failure(|| {
        given::<Account>([Deposited { cents: 5 }])
            .when(Close)
            .then([Withdrawn { cents: 4 }, Closed]);
    });
    assert_eq!(
        shown,
        "other events followed than expected (- expected, + followed):
 [
     Withdrawn {
-        cents: 4,
+        cents: 5,
     },
     Closed,
 ]
"
    );
}

#[test]
fn a_rejection_is_shown_with_its_reason() {
    let shown = failure(|| {
        given_no_events::<Account>()
            .when(Withdraw(2))
            .then([Closed])
    });
    assert!(shown.contains("only 0 cents are left"), "{shown}");
    let shown = failure(|| {
        given_no_events::<Account>()
            .when(Withdraw(2))
            .then_nothing()
    });
    assert!(shown.contains("only 0 cents are left"), "{shown}");
    let shown = failure(|| {
        given_no_events::<Account>()
            .when(Withdraw(2))
            .then_state(|_| true);
    });
    assert!(shown.contains("only 0 cents are left"), "{shown}");
}

#[test]
fn a_missing_or_another_rejection_fails() {
    let shown = failure(|| {
        given_no_events::<Account>()
            .when(Deposit(2))
            .then_error(|_| true);
    });
    assert!(shown.contains("expected to be rejected"), "{shown}");
    let shown = failure(|| {
        given_no_events::<Account>()
            .when(Withdraw(2))
            .then_error(|error| *error == AccountError::Closed);
    });
    assert!(shown.contains("NotEnough"), "{shown}");
}

#[test]
fn events_where_nothing_was_expected_fail() {
    let shown = failure(|| given_no_events::<Account>().when(Deposit(2)).then_nothing());
    assert!(shown.contains("Deposited"), "{shown}");
}

#[test]
fn another_state_is_shown() {
    let shown = failure(|| {
        given_no_events::<Account>()
            .when(Deposit(2))
            .then_state(|account| account.balance == 1);
    });
    assert!(shown.contains("balance: 2"), "{shown}");
}

#[test]
fn an_error_that_differs_from_the_expected_one_is_shown_line_by_line() {
    let shown = failure(|| {
        given::<Account>([Deposited { cents: 5 }])
            .when(Withdraw(6))
            .then_error_is(AccountError::NotEnough { balance: 4 });
    });
    expect![[r#"
        the command was rejected with another error than expected (- expected, + followed):
         NotEnough {
        -    balance: 4,
        +    balance: 5,
         }
    "#]]
    .assert_eq(&shown);
}

#[test]
fn events_where_a_given_error_was_expected_are_shown_with_it() {
    let shown = failure(|| {
        given::<Account>([])
            .when(Deposit(6))
            .then_error_is(AccountError::Closed);
    });
    expect![[r#"
        the command was expected to be rejected because: the account is closed
        but these events followed:
        [
            Deposited {
                cents: 6,
            },
        ]"#]]
    .assert_eq(&shown);
}

#[test]
fn a_state_that_differs_from_the_expected_one_is_shown_line_by_line() {
    let shown = failure(|| {
        given::<Account>([Deposited { cents: 5 }])
            .when(Close)
            .then_state_is(Account {
                balance: 5,
                closed: true,
            });
    });
    expect![[r#"
        the aggregate is in another state than expected (- expected, + is):
         Account {
        -    balance: 5,
        +    balance: 0,
             closed: true,
         }
    "#]]
    .assert_eq(&shown);
}

on_every_store! {
    async fn given_events_are_the_past_that_a_repository_loads_and_decides_upon(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        let past = [Deposited { cents: 5 }, Withdrawn { cents: 2 }];
        let version = given_events(&accounts, &ctx(), &ID, past).await;
        assert_eq!(version, Version::new(2));
        let done = accounts.execute(&ctx(), &ID, Withdraw(3)).await.unwrap();
        assert_eq!((done.state.balance, done.version), (0, Version::new(3)));
    }
}

#[tokio::test]
async fn a_past_longer_than_a_commit_may_be_is_given_whole() {
    let accounts = accounts().await;
    let past = (0..2_500).map(|_| Deposited { cents: 1 });
    let version = given_events(&accounts, &ctx(), &ID, past).await;
    assert_eq!(version, Version::new(2_500));
    assert_eq!(
        accounts.load(&ctx(), &ID).await.unwrap().state.balance,
        2_500
    );
}

#[tokio::test]
async fn events_are_not_given_to_an_aggregate_that_has_some() {
    let accounts = accounts().await;
    given_events(&accounts, &ctx(), &ID, [Deposited { cents: 1 }]).await;
    let again = tokio::spawn(async move {
        given_events(&accounts, &ctx(), &ID, [Closed]).await;
    });
    let panic = again.await.expect_err("it fails").into_panic();
    let shown = panic.downcast_ref::<String>().unwrap();
    assert!(
        shown.starts_with("given_events at crates/cim-domain/tests/spec/test_kit.rs:"),
        "{shown}"
    );
    expect!["events from `closed` on can't be stored for 00000000-0000-0000-0000-000000000007: the aggregate is at version 1, expected was no events yet"].assert_eq(shown.split_once(": ").unwrap().1);
}
