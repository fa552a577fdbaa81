//! The ways between the states of a resource.

use cim_demo_inventory::prelude::*;
use expect_test::expect;

#[test]
fn every_way_is_there_or_refused_with_a_sentence() {
    let mut table = String::new();
    for from in Status::ALL {
        for to in Status::ALL {
            let answer = match from.to(to) {
                Ok(way) => {
                    assert_eq!((way.from(), way.to()), (from, to));
                    "yes".to_owned()
                }
                Err(refused) => refused.to_string(),
            };
            table.push_str(&format!("{from:14} -> {to:14}  {answer}\n"));
        }
    }
    expect![[r#"
        provisioning   -> provisioning    the resource is in this state already: provisioning
        provisioning   -> active          yes
        provisioning   -> maintenance     a resource that never worked has nothing to maintain; activate it first
        provisioning   -> decommissioned  yes
        active         -> provisioning    a resource is provisioned once; take an active one into maintenance instead
        active         -> active          the resource is in this state already: active
        active         -> maintenance     yes
        active         -> decommissioned  an active resource does its work; take it into maintenance before it is decommissioned
        maintenance    -> provisioning    a resource is provisioned once; take an active one into maintenance instead
        maintenance    -> active          yes
        maintenance    -> maintenance     the resource is in this state already: maintenance
        maintenance    -> decommissioned  yes
        decommissioned -> provisioning    a decommissioned resource is gone for good; register a new one
        decommissioned -> active          a decommissioned resource is gone for good; register a new one
        decommissioned -> maintenance     a decommissioned resource is gone for good; register a new one
        decommissioned -> decommissioned  the resource is in this state already: decommissioned
    "#]].assert_eq(&table);
}

#[test]
fn every_status_can_be_reached_and_the_last_is_not_left() {
    let next = |from: Status| {
        Status::ALL
            .into_iter()
            .filter(move |to| from.to(*to).is_ok())
    };
    let mut reached = vec![Status::Provisioning];
    for index in 0..Status::ALL.len() {
        for to in next(reached[index]) {
            if !reached.contains(&to) {
                reached.push(to);
            }
        }
    }
    assert_eq!(reached.len(), Status::ALL.len());
    assert_eq!(next(Status::Decommissioned).count(), 0);
}
