//! The steps of `unsubscribe`, and what it does when they fail.

use harness::{Answer, Operation};
use serde_json::json;

use super::{ALICE, ID, Members, OWN, THROTTLE, counts, hold, kind, lay, names, repair, set};
use crate::support::{a_moment, counted, line, until};

#[tokio::test]
async fn unsubscribing_deletes_the_rows_and_then_the_names_in_the_set() {
    let members = Members::start().await;
    let world = members.world();
    lay(world, ALICE, &names(0..60));
    let gate = hold(&world.subscriptions, |_| true);
    let sessions = names(10..70);
    let watching = async {
        until(|| counts(&world.subscriptions, Operation::BatchWriteItem) == 3).await;
        gate.add_permits(2);
        a_moment().await;
        assert_eq!(
            members.subscriptions()[0],
            set(&names(0..60)),
            "the set is as it was until the rows are gone"
        );
        assert_eq!(counts(&world.table, Operation::UpdateItem), 0);
        gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(members.ask("unsubscribe", &sessions), watching);
    let asked: Vec<&str> = sessions.iter().map(String::as_str).collect();
    assert_eq!(
        (kind(&answer), &answer["id"], &answer["sessions"]),
        ("unsubscribed", &json!(ID), &json!(asked))
    );
    let rest = set(&names(0..10));
    assert_eq!(members.subscriptions(), [rest.clone(), rest]);
    repair(world);

    // Down to nothing: then there is no set, and again is no error.
    for _ in 0..2 {
        assert_eq!(kind(&members.ask("unsubscribe", &names(0..10)).await), "unsubscribed");
        assert_eq!(members.subscriptions(), [set(&[]), set(&[])]);
    }
    assert_eq!(world.table.row(ALICE).map(|row| row.session), Some(OWN.to_owned()));
    members.log();
}

#[tokio::test]
async fn an_unsubscribe_that_fails_is_internal_leaves_no_row_outside_the_set_and_may_be_repeated() {
    for of_rows in [true, false] {
        for trouble in
            [THROTTLE, Answer::Error(400, "AccessDeniedException"), Answer::CutUnread, Answer::CutRead]
        {
            let members = Members::start().await;
            let world = members.world();
            lay(world, ALICE, &names(0..40));
            let table = if of_rows { &world.subscriptions } else { &world.table };
            let (answer, what) = (trouble.clone(), format!("{of_rows} {trouble:?}"));
            table.call_script(move |call, _| match call.operation {
                Operation::GetItem => Answer::Serve,
                _ => answer.clone(),
            });
            assert_eq!(kind(&members.ask("unsubscribe", &names(0..30)).await), "internal", "{what}");
            let [all, rows] = members.subscriptions();
            assert!(rows.is_subset(&all), "{what}");
            repair(world);
            assert_eq!(kind(&members.ask("unsubscribe", &names(0..30)).await), "unsubscribed");
            assert_eq!(members.subscriptions(), [(); 2].map(|()| set(&names(30..40))), "{what}");
            let log = members.log();
            assert_eq!(
                (&line(&log, "failed")["cause"], counted(&log, "HandlerErrors")),
                (&json!("table"), 1.0)
            );
        }
    }
}

#[tokio::test]
async fn an_unsubscribe_rides_out_throttles_lost_answers_and_unprocessed_requests() {
    for trouble in [THROTTLE, Answer::CutRead, Answer::CutUnread] {
        let members = Members::start().await;
        let world = members.world();
        lay(world, ALICE, &names(0..40));
        for table in [&world.table, &world.subscriptions] {
            let answer = trouble.clone();
            table.script(move |_, count| if count < 3 { answer.clone() } else { Answer::Serve });
        }
        world.subscriptions.batch_script(|_, batch| if batch < 5 { 9 } else { 0 });
        assert_eq!(kind(&members.ask("unsubscribe", &names(0..30)).await), "unsubscribed");
        assert_eq!(members.subscriptions(), [(); 2].map(|()| set(&names(30..40))));
        members.log();
    }
}
