//! Chains of content with heads that two writers can't fork.

use std::sync::Arc;

use cim_conformance::{FaultLayer, FaultPlan};
use cim_domain::persistence::content::{Chain, ContentError, ContentStore};
use cim_domain::store::SequentialIds;
use cim_ipld::{ContentChainFaultKind, Since};
use futures_util::TryStreamExt as _;

use super::values::Letter;
use super::{HOUR, SMALL, blocks, ctx, get, in_memory, leaf, put, small, tamper};
use crate::stores::{on_every_store, open_at_noon};

fn letter(to: &str) -> Letter {
    Letter {
        to: to.into(),
        attachments: vec![],
    }
}

async fn told(chain: &Chain<Letter>, since: Since) -> Vec<String> {
    let values = chain.since(&ctx(), since).await.unwrap();
    let values: Vec<_> = values.try_collect().await.unwrap();
    values.into_iter().map(|(_, letter)| letter.to).collect()
}

on_every_store! {
    async fn values_come_back_in_the_order_in_which_they_were_appended(store, clock) {
        let content = small(&store, &clock).await;
        let chain = content.chain::<Letter>("out/2026").unwrap();
        assert_eq!(chain.head(&ctx()).await.unwrap(), None);
        assert!(told(&chain, Since::Beginning).await.is_empty());
        let mut heads = Vec::new();
        for to in ["a", "b", "c", "d"] {
            heads.push(chain.append(&ctx(), &letter(to)).await.unwrap());
        }
        let numbers: Vec<u64> = heads.iter().map(|head| head.seq).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        assert_eq!(chain.head(&ctx()).await.unwrap(), Some(heads[3]));
        assert_eq!(content.chains(&ctx()).await.unwrap(), [("out/2026".to_owned(), heads[3])]);
        assert_eq!(told(&chain, Since::Beginning).await, ["a", "b", "c", "d"]);
        assert_eq!(told(&chain, Since::Seq(2)).await, ["c", "d"]);
        assert_eq!(told(&chain, Since::Cid(heads[2].cid)).await, ["d"]);
        assert_eq!(told(&chain, Since::Head(heads[3])).await, [""; 0]);
        assert_eq!(chain.verify(&ctx(), Since::Head(heads[1])).await.unwrap(), Some(heads[3]));
    }

    async fn a_chain_keeps_all_of_its_values_until_it_is_deleted(store, clock) {
        let content = small(&store, &clock).await;
        let chain = content.chain::<Letter>("it").unwrap();
        let photo = put(&content, b"0123456789").await.cid;
        for to in ["a", "b"] {
            let value = Letter { attachments: vec![photo], ..letter(to) };
            chain.append(&ctx(), &value).await.unwrap();
        }
        let marked = content.mark(&ctx()).await.unwrap();
        assert_eq!((marked.kept, marked.marked), (2 + 2 + 4, 0));
        clock.advance(HOUR);
        content.sweep(&ctx()).await.unwrap();
        chain.verify(&ctx(), Since::Beginning).await.unwrap();
        assert_eq!(get(&content, &photo).await.unwrap(), b"0123456789");

        assert!(chain.delete(&ctx()).await.unwrap());
        assert!(!chain.delete(&ctx()).await.unwrap());
        content.mark(&ctx()).await.unwrap();
        clock.advance(HOUR);
        assert_eq!(content.sweep(&ctx()).await.unwrap().removed, 8);
        assert!(blocks(&content).await.is_empty());
    }

    async fn of_those_who_append_to_the_same_head_one_wins(store, clock) {
        let content = small(&store, &clock).await;
        let chain = content.chain::<Letter>("it").unwrap();
        let first = chain.append(&ctx(), &letter("first")).await.unwrap();
        let appends = (0..6).map(|writer| {
            let chain = chain.clone();
            tokio::spawn(async move {
                let value = letter(&format!("writer {writer}"));
                chain.append_at(&ctx(), Some(first), &value).await
            })
        });
        let appends: Vec<_> = appends.collect();
        let mut won = 0;
        for append in appends {
            match append.await.unwrap() {
                Ok(head) => {
                    assert_eq!(head.seq, 2);
                    won += 1;
                }
                Err(error) => {
                    assert!(error.is_conflict());
                    assert_eq!(error.to_string(), "the chain `it` is at 2, expected was 1");
                }
            }
        }
        assert_eq!(won, 1);
        // What the others stored for it is garbage.
        let marked = content.mark(&ctx()).await.unwrap();
        assert_eq!(marked.kept, 4);
        assert_eq!(chain.verify(&ctx(), Since::Head(first)).await.unwrap().map(|head| head.seq), Some(2));
    }

    async fn everybody_who_appends_behind_whatever_is_last_gets_a_place(store, clock) {
        let content = small(&store, &clock).await;
        let chain = content.chain::<Letter>("it").unwrap();
        let writers = (0..4).map(|writer| {
            let chain = chain.clone();
            tokio::spawn(async move {
                for number in 0..5 {
                    // Two of the writers append the very same values.
                    let value = letter(&format!("{}/{number}", writer / 2));
                    chain.append(&ctx(), &value).await.unwrap();
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let mut values = told(&chain, Since::Beginning).await;
        assert_eq!(chain.verify(&ctx(), Since::Beginning).await.unwrap().map(|head| head.seq), Some(20));
        values.sort();
        values.dedup();
        assert_eq!(values.len(), 10);
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_a_chain_is_named_with_its_place() {
    let fault = |error: ContentError| {
        let ContentError::Chain { chain, source } = error else {
            panic!("{error:?}");
        };
        assert_eq!(chain, "it");
        *source
    };
    let make = async || {
        let (content, _) = in_memory().await;
        let chain = content.chain::<Letter>("it").unwrap();
        for to in ["a", "b", "c", "d"] {
            chain.append(&ctx(), &letter(to)).await.unwrap();
        }
        let links = chain.links(&ctx(), Since::Beginning).await.unwrap();
        (content, chain, links)
    };
    use ContentChainFaultKind as Kind;

    let (content, chain, links) = make().await;
    tamper(&content, &links[1].cid, Some(b"?")).await;
    let found = fault(chain.verify(&ctx(), Since::Beginning).await.unwrap_err());
    assert!(
        found.seq == 2 && matches!(found.kind, Kind::Altered(_)),
        "{found}"
    );
    assert!(chain.verify(&ctx(), Since::Seq(2)).await.is_ok());

    let (content, chain, links) = make().await;
    tamper(&content, &links[2].cid, None).await;
    let found = fault(chain.verify(&ctx(), Since::Beginning).await.unwrap_err());
    assert!(
        found.seq == 3 && matches!(found.kind, Kind::Missing { .. }),
        "{found}"
    );

    let (content, chain, links) = make().await;
    tamper(&content, &links[0].content, Some(b"?")).await;
    let found = fault(chain.verify(&ctx(), Since::Beginning).await.unwrap_err());
    assert!(
        found.seq == 1 && matches!(found.kind, Kind::ContentAltered(_)),
        "{found}"
    );
    assert!(chain.links(&ctx(), Since::Beginning).await.is_ok());

    // Replaced by another chain of the same length: a head that was kept elsewhere tells.
    let (_, chain, links) = make().await;
    let kept = links[3].head();
    chain.delete(&ctx()).await.unwrap();
    for to in ["a", "b", "x", "d"] {
        chain.append(&ctx(), &letter(to)).await.unwrap();
    }
    assert!(chain.verify(&ctx(), Since::Beginning).await.is_ok());
    let found = fault(chain.verify(&ctx(), Since::Head(kept)).await.unwrap_err());
    assert!(matches!(found.kind, Kind::Forked { .. }), "{found}");
}

#[tokio::test]
async fn a_value_whose_parts_are_not_here_is_not_appended() {
    let (content, _) = in_memory().await;
    let value = Letter {
        attachments: vec![leaf(b"?")],
        ..letter("a")
    };
    let chain = content.chain::<Letter>("it").unwrap();
    let error = chain.append(&ctx(), &value).await.unwrap_err();
    assert!(matches!(error, ContentError::Missing { .. }));
    assert_eq!(chain.head(&ctx()).await.unwrap(), None);
    let outside = content.clone().with_links_outside();
    let chain = outside.chain::<Letter>("it").unwrap();
    chain.append(&ctx(), &value).await.unwrap();
    chain.append(&ctx(), &letter("b")).await.unwrap();
    assert_eq!(
        content.mark(&ctx()).await.unwrap().outside,
        0,
        "a leaf is not looked for"
    );
    chain.verify(&ctx(), Since::Beginning).await.unwrap();
}

#[tokio::test]
async fn a_value_is_appended_once_although_calls_and_answers_are_lost() {
    for seed in 0..60 {
        let (store, clock) = open_at_noon("memory:").await;
        let honest = small(&store, &clock).await;
        let ids = Arc::new(SequentialIds::new(seed));
        let layer = FaultLayer::new(FaultPlan::random(seed, 5), ids);
        let faulty = loop {
            let store = layer.store(Arc::clone(&store));
            if let Ok(content) = ContentStore::open(&*store, &ctx(), "content", SMALL).await {
                break content;
            }
        };
        let (faulty, honest) = (
            faulty.chain::<Letter>("it").unwrap(),
            honest.chain::<Letter>("it").unwrap(),
        );
        let mut acknowledged = 0;
        let mut refused = 0;
        for number in 0..10 {
            match faulty.append(&ctx(), &letter(&number.to_string())).await {
                Ok(head) => {
                    acknowledged += 1;
                    let last = honest
                        .links(&ctx(), Since::Seq(head.seq - 1))
                        .await
                        .unwrap();
                    assert_eq!(last[0].head(), head);
                }
                Err(_) => refused += 1,
            }
        }
        let told = told(&honest, Since::Beginning).await;
        let mut once = told.clone();
        once.dedup();
        assert_eq!(told, once, "seed {seed}: nothing twice");
        assert!(told.len() >= acknowledged && acknowledged + refused == 10);
    }
}
