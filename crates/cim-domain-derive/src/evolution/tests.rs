//! Each contradiction is refused with a sentence that says what to do about it.

use syn::{DeriveInput, parse_quote};

use crate::model::EventDefinition;

fn refusal(input: DeriveInput) -> String {
    match EventDefinition::of(&input) {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error.to_string(),
    }
}

fn accepted(input: DeriveInput) {
    if let Err(error) = EventDefinition::of(&input) {
        panic!("{error}");
    }
}

#[test]
fn a_chain_leads_from_the_first_version_to_the_one_of_today() {
    accepted(parse_quote! {
        enum E {
            #[event(version = 3, upcast(1 = a, 2 = b))] A,
            #[event(version = 2, upcast(1 = path::to::c,))] B,
        }
    });
}

#[test]
fn a_step_that_is_missing_is_named() {
    for (steps, missing) in [
        (
            quote::quote!(1 = a, 2 = b),
            "from schema version 3 to 4 is missing; add `3 = …`",
        ),
        (
            quote::quote!(1 = a, 3 = c),
            "from schema version 2 to 3 is missing; add `2 = …`",
        ),
        (
            quote::quote!(2 = b, 3 = c),
            "from schema version 1 to 2 is missing; add `1 = …`",
        ),
        (
            quote::quote!(),
            "from schema version 1 to 2 is missing; add `1 = …`",
        ),
    ] {
        let refusal = refusal(parse_quote! {
            enum E { #[event(version = 4, upcast(#steps))] Placed }
        });
        assert_eq!(refusal, format!("the step of `Placed` {missing}"));
    }
}

#[test]
fn steps_that_lead_nowhere_are_refused() {
    assert_eq!(
        refusal(parse_quote! {
            enum E { #[event(version = 2, upcast(1 = a, 2 = b))] Placed }
        }),
        "`Placed` has schema version 2, so there is none after 2 to lift to; was `version = 3` \
         forgotten?"
    );
    assert_eq!(
        refusal(parse_quote! {
            enum E { #[event(version = 3, upcast(1 = a, 1 = b, 2 = c))] Placed }
        }),
        "the steps of `Placed` are listed once each, from the oldest on"
    );
    assert_eq!(
        refusal(parse_quote! {
            enum E { #[event(version = 2, upcast(0 = a, 1 = b))] Placed }
        }),
        "schema versions are counted from 1"
    );
    assert_eq!(
        refusal(parse_quote! {
            enum E { #[event(upcast(1 = a))] Placed }
        }),
        "there is nothing to upcast: version 1 is the first; was `version = 2` forgotten?"
    );
    assert_eq!(
        refusal(parse_quote! {
            enum E { #[event(version = 2, upcast = a, upcast(1 = b))] Placed }
        }),
        "this is said twice"
    );
}

#[test]
fn an_old_name_stands_for_one_event_type() {
    accepted(parse_quote! {
        enum E {
            #[event(alias = "created", alias = "made")] Placed,
            #[event(alias = "given up")] Cancelled,
        }
    });
    assert_eq!(
        refusal(parse_quote! {
            enum E { #[event(alias = "cancelled")] Placed, Cancelled }
        }),
        "`cancelled` is the event type of `Cancelled` and can't be an old name of `Placed` as well"
    );
    assert_eq!(
        refusal(parse_quote! {
            enum E { #[event(alias = "placed")] Placed }
        }),
        "`placed` is what `Placed` is stored as today; an alias is a name that it was stored under \
         before"
    );
    assert_eq!(
        refusal(parse_quote! {
            enum E { #[event(alias = "a")] Placed, #[event(alias = "a")] Cancelled }
        }),
        "`a` is an old name of `Placed` already; an event that was stored under it can be read as \
         one of both only"
    );
    assert_eq!(
        refusal(parse_quote! {
            enum E { #[event(alias = "a", alias = "a")] Placed }
        }),
        "`Placed` is given the alias `a` twice"
    );
}

#[test]
fn a_swap_of_names_is_refused_as_it_could_not_be_told_apart() {
    assert_eq!(
        refusal(parse_quote! {
            enum E { #[event(alias = "b")] A, #[event(alias = "a")] B }
        }),
        "`b` is the event type of `B` and can't be an old name of `A` as well"
    );
}

#[test]
fn a_retired_type_is_not_alive() {
    accepted(parse_quote! {
        #[event(retired("viewed", "clicked"))] enum E { Placed }
    });
    assert_eq!(
        refusal(parse_quote! {
            #[event(retired("placed"))] enum E { Placed }
        }),
        "`placed` is the event type of `Placed`, so it is not retired"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(retired("created"))] enum E { #[event(alias = "created")] Placed }
        }),
        "`created` is an old name of `Placed`, so its events are not given up"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(retired("viewed"))] #[event(retired("viewed"))] enum E { Placed }
        }),
        "`viewed` is retired twice"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(retired("both"), split(name = "both", into("placed"), by = f))]
            enum E { Placed }
        }),
        "`both` is split, so its events are not given up"
    );
}

#[test]
fn the_name_of_the_tombstone_is_reserved_wherever_a_name_stands() {
    let inputs: [DeriveInput; 5] = [
        parse_quote!(
            struct AggregateDeleted;
        ),
        parse_quote!(
            #[event(prefix = "aggregate_")]
            enum E {
                Deleted,
            }
        ),
        parse_quote!(
            enum E {
                #[event(alias = "aggregate_deleted")]
                Gone,
            }
        ),
        parse_quote!(
            #[event(retired("aggregate_deleted"))]
            enum E {
                A,
            }
        ),
        parse_quote!(
            #[event(split(name = "aggregate_deleted", into("a"), by = f))]
            enum E {
                A,
            }
        ),
    ];
    for input in inputs {
        assert_eq!(
            refusal(input),
            "`aggregate_deleted` is the event that repositories store when an aggregate is \
             deleted; choose another name"
        );
    }
}

#[test]
fn a_split_says_of_what_into_what_and_by_what() {
    accepted(parse_quote! {
        #[event(split(name = "placed_and_paid", into("placed", "paid"), by = f))]
        enum E { Placed, Paid }
    });
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(name = "placed_and_paid", by = f))] enum E { Placed }
        }),
        "a split says of which type, what its events become, and by which function: \
         split(name = \"…\", into(\"…\", \"…\"), by = function)"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(of = "placed_and_paid"))] enum E { Placed }
        }),
        "unknown attribute; a split has `name`, `until`, `into` and `by`"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(name = "a", into(), by = f))] enum E { Placed }
        }),
        "`a` becomes nothing; then it is retired: #[event(retired(\"a\"))]"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(name = "a", into("placed"), by = f), split(name = "a", into("placed"), by = g))]
            enum E { Placed }
        }),
        "`a` is split twice"
    );
}

#[test]
fn a_split_becomes_types_that_are_known() {
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(name = "a", into("plced"), by = f))] enum E { Placed }
        }),
        "`plced` is no event type here; a split becomes types of today, or others that are split"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(name = "a", into("created"), by = f))]
            enum E { #[event(alias = "created")] Placed }
        }),
        "`created` is an old name of `Placed`; write the name of today"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(retired("viewed"), split(name = "a", into("viewed"), by = f))] enum E { Placed }
        }),
        "`viewed` is retired; leave it out, and let the function not give it"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(name = "a", into("placed", "placed"), by = f))] enum E { Placed }
        }),
        "`placed` is said twice"
    );
}

#[test]
fn the_first_versions_of_a_type_of_today_can_be_split() {
    accepted(parse_quote! {
        #[event(split(name = "placed", until = 2, into("placed", "paid"), by = f))]
        enum E { #[event(version = 4, upcast(3 = g))] Placed, Paid }
    });
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(name = "placed", into("paid"), by = f))]
            enum E { Placed, Paid }
        }),
        "`placed` is the event type of `Placed`; say which of its schema versions are split: \
         `until = …`"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(name = "placed", until = 1, into("paid"), by = f))]
            enum E { Placed, Paid }
        }),
        "`Placed` is written with schema version 1, so only versions below it can be split; was \
         its `version` not raised?"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(name = "created", until = 1, into("paid"), by = f))]
            enum E { #[event(alias = "created")] Placed, Paid }
        }),
        "`created` is an old name of `Placed`, whose versions are counted on; split the versions \
         of its name of today"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(name = "placed", until = 1, into("paid"), by = f))]
            enum E { #[event(version = 3, upcast(1 = g, 2 = h))] Placed, Paid }
        }),
        "schema version 1 of `Placed` is split, so this is never called"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(name = "placed", until = 1, into("paid"), by = f))]
            enum E { #[event(version = 2, upcast = g)] Placed, Paid }
        }),
        "there is nothing to upcast: all versions before 2 are split"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(name = "placed", until = 1, into("paid"), by = f))]
            enum E { #[event(version = 4, upcast(3 = h))] Placed, Paid }
        }),
        "the step of `Placed` from schema version 2 to 3 is missing; add `2 = …`"
    );
}

#[test]
fn splits_do_not_go_round_in_a_circle() {
    accepted(parse_quote! {
        #[event(split(name = "a", into("b", "c"), by = f))]
        #[event(split(name = "b", into("c", "x"), by = f))]
        #[event(split(name = "c", into("x"), by = f))]
        enum E { X }
    });
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(name = "a", into("a", "x"), by = f))] enum E { X }
        }),
        "splits go round in a circle: `a` → `a`"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(name = "start", into("a"), by = f))]
            #[event(split(name = "a", into("x", "b"), by = f))]
            #[event(split(name = "b", into("c"), by = f))]
            #[event(split(name = "c", into("a"), by = f))]
            enum E { X }
        }),
        "splits go round in a circle: `a` → `b` → `c` → `a`"
    );
    assert_eq!(
        refusal(parse_quote! {
            #[event(split(name = "x", until = 1, into("x", "y"), by = f))]
            #[event(split(name = "y", until = 1, into("y", "x"), by = f))]
            enum E { #[event(version = 2)] X, #[event(version = 2)] Y }
        }),
        "splits go round in a circle: `x` → `y` → `x`"
    );
}

#[test]
fn names_of_the_past_are_names_that_a_store_can_have_held() {
    for input in [
        parse_quote!(
            enum E {
                #[event(alias = "")]
                A,
            }
        ),
        parse_quote!(
            #[event(retired(""))]
            enum E {
                A,
            }
        ),
        parse_quote!(
            #[event(split(name = "", into("a"), by = f))]
            enum E {
                A,
            }
        ),
    ] as [DeriveInput; 3]
    {
        let refusal = refusal(input);
        assert!(refusal.contains("it is empty"), "{refusal}");
    }
}
