//! `cim demo git` when something gets in its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cim_cli::ExitCode;

use crate::repository::Repository;
use crate::tampered_log::{Fate, TamperedLog};
use crate::workbench::Workbench;

/// A bench whose `number`th append presses Ctrl-C.
fn interrupted_at(number: u64) -> Workbench {
    Workbench::with_log(|log, interrupt| {
        TamperedLog::appending(log, move |append| {
            if append == number {
                interrupt.send(true).unwrap();
            }
            Fate::Stored
        })
    })
}

/// A bench whose `number`th append fails.
fn failing_at(number: u64) -> Workbench {
    Workbench::with_log(|log, _| {
        TamperedLog::appending(log, move |append| match append {
            append if append == number => Fate::Refused,
            _ => Fate::Stored,
        })
    })
}

#[tokio::test]
async fn after_ctrl_c_the_next_run_completes_the_import() {
    let repository = Repository::with_commits(6);
    for number in 1..=6 {
        let bench = interrupted_at(number);
        let ended = bench.import(&repository).await;
        assert_eq!(ended.code, ExitCode::Interrupted, "{}", ended.show());
        assert_eq!(ended.out, "");
        bench.interrupt.send(false).unwrap();
        let stored = number as usize * 3;
        assert_eq!(bench.event_count().await, stored);
        if number < 6 {
            let said = format!("stopped after {number} of 6 new git commits");
            assert!(ended.err.contains(&said), "{}", ended.err);
        }
        let report = bench.import_equal(&repository).await;
        assert_eq!(report["commits_imported"], 6 - number);
        assert_eq!(bench.event_count().await, 18);
    }
}

#[tokio::test]
async fn a_git_commit_that_was_stored_in_part_is_completed() {
    let repository = Repository::empty();
    repository.write("1", "first");
    repository.commit("first");
    for number in 0..2500 {
        repository.write(format!("{number}"), "x");
    }
    repository.commit("many");
    repository.write("1", "last");
    repository.commit("last");
    // The first git commit is append 1, the parts of the second are 2 to 4, the third is 5.
    for number in 2..=5 {
        let bench = failing_at(number);
        let ended = bench.import(&repository).await;
        assert_eq!(ended.code, ExitCode::Unavailable, "{}", ended.show());
        let recorded = bench.events(&["git.commit"]).await.len();
        assert_eq!(recorded, if number == 5 { 2 } else { 1 });
        bench.import_equal(&repository).await;
        assert_eq!(bench.event_count().await, 2 + 2501 + 2);
    }
}

#[tokio::test]
async fn a_part_of_a_git_commit_that_is_gone_is_refused() {
    let repository = Repository::empty();
    for number in 0..1500 {
        repository.write(format!("{number}"), "x");
    }
    repository.commit("many");
    let bench = failing_at(2);
    bench.import(&repository).await;
    repository.git(&["commit", "--quiet", "--amend", "-m", "rewritten"]);
    let ended = bench.import(&repository).await;
    assert_eq!(ended.code, ExitCode::Invalid);
    assert!(
        ended.err.contains("the store holds a part of git commit"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn an_append_that_fails_names_its_git_commit_and_the_way_out() {
    let repository = Repository::with_commits(3);
    let hash = repository.git(&["rev-parse", "HEAD~1"]);
    let ended = failing_at(2).import(&repository).await;
    assert_eq!(
        ended.err,
        format!(
            "error: git commit {hash} can't be stored\n  \
             because: out of order today\n\
             hint: what was imported so far is stored; the next run continues after it\n"
        )
    );
}

#[tokio::test]
async fn a_store_that_takes_appends_in_another_order_still_gets_them_in_gits() {
    let repository = Repository::with_files(40);
    let bench = Workbench::with_log(|log, _| {
        TamperedLog::appending(log, |append| match append {
            5 | 11 | 12 => Fate::Late,
            _ => Fate::Stored,
        })
    });
    bench.import_equal(&repository).await;
    let order: Vec<String> = bench
        .events(&["git.commit"])
        .await
        .iter()
        .map(|event| event["payload"]["hash"].as_str().unwrap().to_owned())
        .collect();
    let git = repository.git(&["rev-list", "--first-parent", "--reverse", "HEAD"]);
    assert_eq!(order, git.lines().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_is_asked_once_for_each_git_commit() {
    let repository = Repository::with_files(200);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let bench = Workbench::with_log(|log, _| {
        TamperedLog::appending(log, move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Fate::InTurn
        })
    });
    bench.import_equal(&repository).await;
    assert_eq!(asked.load(Ordering::Relaxed), 200);
}
