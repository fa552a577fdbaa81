//! `given`, `when`, `then`: what passes, and what a failure shows.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cim_domain::testing::{given, given_no_events};

use crate::account::{Account, AccountCommand, AccountError, AccountEvent};
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
