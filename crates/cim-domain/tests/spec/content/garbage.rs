//! What nothing names is found, marked, and goes when it stayed so.

use std::time::Duration;

use cim_domain::persistence::content::PutOptions;
use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::{HOUR, blocks, ctx, get, in_memory, put, small};
use crate::stores::on_every_store;

on_every_store! {
    async fn garbage_goes_after_it_was_marked_for_the_whole_grace(store, clock) {
        let content = small(&store, &clock).await;
        let garbage = put(&content, b"0123456789").await;
        let kept = content.put_bytes(&ctx(), "01234567", PutOptions::pinned("it")).await.unwrap();
        // Two leaves belong to both.
        let marked = content.mark(&ctx()).await.unwrap();
        assert_eq!((marked.kept, marked.marked, marked.waiting), (3, 2, 0));
        clock.advance(HOUR - Duration::from_micros(1));
        let marked = content.mark(&ctx()).await.unwrap();
        assert_eq!((marked.marked, marked.waiting), (0, 2), "the first mark counts");
        let swept = content.sweep(&ctx()).await.unwrap();
        assert_eq!((swept.removed, swept.waiting), (0, 2));
        assert_eq!(get(&content, &garbage.cid).await.unwrap(), b"0123456789");

        clock.advance(Duration::from_micros(1));
        assert_eq!(content.sweep(&ctx()).await.unwrap().removed, 2);
        assert!(get(&content, &garbage.cid).await.unwrap_err().is_not_found());
        assert_eq!(get(&content, &kept.cid).await.unwrap(), b"01234567");
        let swept = content.sweep(&ctx()).await.unwrap();
        assert_eq!((swept.removed, swept.spared, swept.waiting), (0, 0, 0));
        let marked = content.mark(&ctx()).await.unwrap();
        assert_eq!((marked.kept, marked.marked, marked.waiting), (3, 0, 0));
    }

    async fn putting_what_is_marked_takes_the_mark_away(store, clock) {
        let content = small(&store, &clock).await;
        let first = put(&content, b"01234567").await;
        content.mark(&ctx()).await.unwrap();
        clock.advance(HOUR);
        let again = put(&content, b"01234567").await;
        assert_eq!(again.new_blocks, 0);
        let swept = content.sweep(&ctx()).await.unwrap();
        assert_eq!((swept.removed, swept.spared), (0, 3));
        assert_eq!(get(&content, &first.cid).await.unwrap(), b"01234567");
        // It is garbage as before, but from now on.
        assert_eq!(content.mark(&ctx()).await.unwrap().marked, 3);
        clock.advance(HOUR);
        assert_eq!(content.sweep(&ctx()).await.unwrap().removed, 3);
    }

    async fn deleted_content_is_marked_and_can_be_read_until_it_goes(store, clock) {
        let content = small(&store, &clock).await;
        let options = PutOptions::default().described(Default::default());
        let stored = content.put_bytes(&ctx(), "0123", options).await.unwrap();
        assert!(content.delete(&ctx(), &stored.cid).await.unwrap());
        assert_eq!(content.metadata(&ctx(), &stored.cid).await.unwrap(), None);
        assert_eq!(get(&content, &stored.cid).await.unwrap(), b"0123");
        clock.advance(HOUR);
        assert_eq!(content.sweep(&ctx()).await.unwrap().removed, 1);
        assert!(!content.delete(&ctx(), &stored.cid).await.unwrap());
    }
}

#[tokio::test]
async fn deleting_what_something_else_names_changes_nothing_for_it() {
    let (content, clock) = in_memory().await;
    let options = PutOptions::pinned("it");
    let stored = content.put_bytes(&ctx(), "0123", options).await.unwrap();
    content.delete(&ctx(), &stored.cid).await.unwrap();
    clock.advance(HOUR);
    let swept = content.sweep(&ctx()).await.unwrap();
    assert_eq!((swept.removed, swept.spared), (0, 1));
    assert_eq!(get(&content, &stored.cid).await.unwrap(), b"0123");
}

#[tokio::test]
async fn a_put_that_ends_between_two_blocks_leaves_only_garbage() {
    for parts in 0..12 {
        let (content, clock) = in_memory().await;
        let kept = content
            .put_bytes(&ctx(), "01234567", PutOptions::pinned("kept"))
            .await
            .unwrap();
        // The process ends while the put waits for more.
        let begun = (0..parts).map(|part: u8| Ok::<_, std::io::Error>(vec![part; 4].into()));
        let source = stream::iter(begun).chain(stream::pending());
        let options = PutOptions::pinned("never");
        let ctx = ctx();
        let putting = content.put_stream(&ctx, source, options);
        assert!(putting.now_or_never().is_none());

        let left = blocks(&content).await.len() as u64 - 3;
        assert!(
            left >= u64::from(parts),
            "{left} of {parts} parts are there"
        );
        assert_eq!(content.mark(&ctx).await.unwrap().marked, left);
        clock.advance(HOUR);
        assert_eq!(content.sweep(&ctx).await.unwrap().removed, left);
        assert_eq!(get(&content, &kept.cid).await.unwrap(), b"01234567");
        assert_eq!(blocks(&content).await.len(), 3);
    }
}

#[tokio::test]
async fn keys_that_are_no_blocks_are_left_alone() {
    use cim_domain::store::{BucketExt as _, Key};
    let (content, clock) = in_memory().await;
    let [bucket, _] = content.buckets();
    let foreign = Key::new("notes.today").unwrap();
    bucket.set(&ctx(), &foreign, "mine".into()).await.unwrap();
    content.mark(&ctx()).await.unwrap();
    clock.advance(HOUR);
    content.sweep(&ctx()).await.unwrap();
    assert!(bucket.get(&ctx(), &foreign).await.unwrap().is_some());
}
