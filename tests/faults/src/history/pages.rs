//! How much one answer has, however the table cuts what is read into pages.

use harness::World;
use hub::history::Range;

use super::{
    EPOCH, HOUR, ROOM,
    Slot::{Message, Void},
    client, lay, message, named, offsets, read_after, sized,
};

#[tokio::test]
async fn hundreds_of_voids_are_read_over_to_the_next_message() {
    const VOIDS: usize = 350;
    let world = World::start().await.with_history();
    let history = client(&world);
    let mut slots = vec![Void(HOUR); VOIDS + 4];
    for number in [1, VOIDS + 2, VOIDS + 3] {
        slots[number - 1] = Message(HOUR);
    }
    lay(&world.messages, ROOM, &slots, 5000);
    let ends = [VOIDS as u64 + 2, VOIDS as u64 + 3];
    for items in [usize::MAX, 100, 7] {
        world.messages.page_items(items);
        for (offset, limit, expected, more) in [
            (0, 2, &[1, ends[0]][..], true),
            (1, 1, &ends[..1], true),
            (1, 100, &ends, false),
            (200, 1, &ends[..1], true),
            (ends[1], 1, &[], false),
        ] {
            let reading = read_after(&history, ROOM, EPOCH, offset, limit).await;
            let seen = (offsets(&reading), reading.more, reading.complete);
            assert_eq!(seen, (expected.to_vec(), more, Some(true)), "{limit} after {offset}, {items} a page");
        }
        let newest = history.read(&named(ROOM), &Range::Last(3)).await.expect("an answer");
        assert_eq!((offsets(&newest), newest.more), (vec![1, ends[0], ends[1]], false), "{items} a page");
    }
}

#[tokio::test]
async fn an_answer_has_thirty_kibibytes_of_messages_or_one_that_is_larger() {
    const MOST: usize = 30 * 1024;
    let world = World::start().await.with_history();
    let history = client(&world);
    let sizes = [10_000, 10_000, MOST - 20_000, 300, MOST - 299, MOST, MOST + 1, 126 * 1024, 300];
    lay(&world.messages, ROOM, &[Message(HOUR); 9], 5000);
    for (size, number) in sizes.into_iter().zip(1..) {
        world.messages.put(&message(ROOM, number, EPOCH, &sized(ROOM, number, size), HOUR, 5000));
    }
    for (offset, expected) in [
        (0, &[1, 2, 3][..]),
        (1, &[2, 3, 4]),
        (2, &[3, 4]),
        (3, &[4]),
        (4, &[5]),
        (5, &[6]),
        (6, &[7]),
        (7, &[8]),
        (8, &[9]),
    ] {
        let reading = read_after(&history, ROOM, EPOCH, offset, 100).await;
        assert_eq!(
            (offsets(&reading), reading.more, reading.complete),
            (expected.to_vec(), offset < 8, Some(true))
        );
        let bytes: usize = reading.messages.iter().map(|frame| frame.get().len()).sum();
        assert!(bytes <= MOST || expected.len() == 1, "{bytes}");
    }
    for (last, expected) in
        [(9, &[9][..]), (8, &[8]), (7, &[7]), (6, &[6]), (5, &[5]), (4, &[2, 3, 4]), (3, &[1, 2, 3])]
    {
        world.messages.put(&super::head(ROOM, last, 5000));
        let newest = history.read(&named(ROOM), &Range::Last(100)).await.expect("an answer");
        assert_eq!((offsets(&newest), newest.more), (expected.to_vec(), false), "up to {last}");
    }
}

#[tokio::test]
async fn a_history_of_large_messages_is_read_to_its_end_one_by_one() {
    const COUNT: usize = 20;
    let world = World::start().await.with_history();
    let history = client(&world);
    lay(&world.messages, ROOM, &[Message(HOUR); COUNT], 5000);
    for number in 1..=COUNT as u64 {
        world.messages.put(&message(ROOM, number, EPOCH, &sized(ROOM, number, 126 * 1024), HOUR, 5000));
    }
    for number in 1..=COUNT as u64 {
        let reading = read_after(&history, ROOM, EPOCH, number - 1, 100).await;
        assert_eq!(
            (offsets(&reading), reading.more, reading.complete),
            (vec![number], number < COUNT as u64, Some(true))
        );
    }
}
